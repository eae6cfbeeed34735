//go:build e2e

package s3_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/s3"
	"github.com/offsite-kafka/offsite/internal/store/storetest"
	"github.com/offsite-kafka/offsite/test/bed/objectstore"
)

// setEnv makes the process a client of server.
func setEnv(t *testing.T, server *objectstore.Server) {
	for _, entry := range server.Env() {
		key, value, _ := strings.Cut(entry, "=")
		t.Setenv(key, value)
	}
}

func TestConformance(t *testing.T) {
	server := objectstore.Start(t)
	setEnv(t, server)
	var n atomic.Int64
	storetest.Run(t, func(t *testing.T) store.Store {
		s, err := s3.Open(t.Context(), objectstore.Bucket, fmt.Sprintf("prefix %d/Repository", n.Add(1)), s3.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
	// The uploads that failed or lost on the way have left no parts.
	out, err := server.Client().ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: aws.String(objectstore.Bucket)})
	if err != nil || len(out.Uploads) != 0 {
		t.Errorf("%d multipart uploads are left, %v", len(out.Uploads), err)
	}
}

// At the root of a bucket there is nothing to tell one store from another.
func TestConformanceWithoutPrefix(t *testing.T) {
	server := objectstore.Start(t)
	setEnv(t, server)
	var n atomic.Int64
	storetest.Run(t, func(t *testing.T) store.Store {
		bucket := fmt.Sprintf("bucket-%d", n.Add(1))
		if _, err := server.Client().CreateBucket(t.Context(), &sdk.CreateBucketInput{Bucket: &bucket}); err != nil {
			t.Fatal(err)
		}
		s, err := s3.Open(t.Context(), bucket, "", s3.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// Over plain HTTP, the signature covers the content.
func TestAlteredContent(t *testing.T) {
	server := objectstore.Start(t)
	setEnv(t, server)
	storetest.RunAltered(t, server.Endpoint(), func(t *testing.T, endpoint string) store.Store {
		s, err := s3.Open(t.Context(), objectstore.Bucket, "altered", s3.Options{Endpoint: endpoint})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, 1000, s3.PartSize, 2*s3.PartSize+1000)
}

func TestServerRefusals(t *testing.T) {
	server := objectstore.Start(t)
	setEnv(t, server)
	calls := map[string]func(store.Store) error{
		"put":    func(s store.Store) error { return putBytes(s, 1, true) },
		"parts":  func(s store.Store) error { return putBytes(s, s3.PartSize+1, true) },
		"get":    func(s store.Store) error { _, err := readAll(s, 0, -1); return err },
		"stat":   func(s store.Store) error { _, err := s.Stat(t.Context(), "k"); return err },
		"list":   func(s store.Store) error { return s.List(t.Context(), "", nil) },
		"delete": func(s store.Store) error { return s.Delete(t.Context(), "k", "l") },
	}
	test := func(bucket string, want error) {
		s, err := s3.Open(t.Context(), bucket, "", s3.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for name, call := range calls {
			err := call(s)
			wantClass(t, err, want)
			if want == store.ErrInvalid && !strings.Contains(fmt.Sprint(err), "bucket no-such-bucket does not exist") {
				t.Errorf("%s: %v does not name the bucket", name, err)
			}
		}
	}
	test("no-such-bucket", store.ErrInvalid)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	test(objectstore.Bucket, store.ErrAuth)
	t.Setenv("AWS_ACCESS_KEY_ID", "nobody")
	test(objectstore.Bucket, store.ErrAuth)
}
