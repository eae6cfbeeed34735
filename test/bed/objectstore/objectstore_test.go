//go:build e2e

package objectstore_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/offsite-kafka/offsite/test/bed/objectstore"
)

func TestEnvironmentIsAllAClientNeeds(t *testing.T) {
	server := objectstore.Start(t)
	for _, entry := range server.Env() {
		key, value, _ := strings.Cut(entry, "=")
		t.Setenv(key, value)
	}
	settings, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := s3.NewFromConfig(settings)
	if err := put(t.Context(), client, "a/b", "hello", nil); err != nil {
		t.Fatalf("put: %v", err)
	}
	got, err := os.ReadFile(server.ObjectFile(objectstore.Bucket, "a/b"))
	if err != nil || string(got) != "hello" {
		t.Errorf("object file holds %q, %v, want %q", got, err, "hello")
	}
}

func TestConditionalPutHasOneWinner(t *testing.T) {
	client := objectstore.Start(t).Client()
	expectOneWinner(t, func(i int) error {
		return put(t.Context(), client, "log/1", strconv.Itoa(i), aws.String("*"))
	})
}

func TestConditionalMultipartHasOneWinner(t *testing.T) {
	client := objectstore.Start(t).Client()
	expectOneWinner(t, func(i int) error { return putParts(t.Context(), client, "data/1", strconv.Itoa(i)) })
}

func TestObjectsSurviveAKill(t *testing.T) {
	server := objectstore.Start(t)
	if err := put(t.Context(), server.Client(), "k", "v", nil); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := put(t.Context(), server.Client(), "k", "w", aws.String("*"))
	if !lost(err) {
		t.Errorf("conditional put after the restart: %v, want status 412", err)
	}
}

// expectOneWinner runs write eight times at once: one must succeed, and the others must lose because the object exists.
func expectOneWinner(t *testing.T, write func(i int) error) {
	t.Helper()
	const writers = 8
	errs := make([]error, writers)
	var wait sync.WaitGroup
	for i := range writers {
		wait.Go(func() { errs[i] = write(i) })
	}
	wait.Wait()
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won++
		case !lost(err):
			t.Errorf("writer %d: %v, want success or status 412 or 409", i, err)
		}
	}
	if won != 1 {
		t.Errorf("%d writers won, want 1", won)
	}
}

func lost(err error) bool {
	var answer *awshttp.ResponseError
	return errors.As(err, &answer) &&
		(answer.HTTPStatusCode() == http.StatusPreconditionFailed || answer.HTTPStatusCode() == http.StatusConflict)
}

func put(ctx context.Context, client *s3.Client, key, value string, ifNoneMatch *string) error {
	_, err := client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(objectstore.Bucket), Key: &key, Body: strings.NewReader(value), IfNoneMatch: ifNoneMatch,
	})
	return err
}

func putParts(ctx context.Context, client *s3.Client, key, tail string) error {
	bucket := aws.String(objectstore.Bucket)
	upload, err := client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: &key})
	if err != nil {
		return err
	}
	var parts []types.CompletedPart
	for i, body := range [][]byte{bytes.Repeat([]byte("x"), 5<<20), []byte(tail)} {
		number := aws.Int32(int32(i + 1))
		part, err := client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: bucket, Key: &key, UploadId: upload.UploadId, PartNumber: number, Body: bytes.NewReader(body),
		})
		if err != nil {
			return err
		}
		parts = append(parts, types.CompletedPart{ETag: part.ETag, PartNumber: number, ChecksumCRC32: part.ChecksumCRC32})
	}
	_, err = client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: &key, UploadId: upload.UploadId, IfNoneMatch: aws.String("*"),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}
