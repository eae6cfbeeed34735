package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/offsite-kafka/offsite/internal/store"
)

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	if err := store.CheckPrefix(prefix); err != nil {
		return err
	}
	last := "" // full name of the object seen last
	in := &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: s.name(prefix)}
	for {
		page, err := s.client.ListObjectsV2(ctx, in)
		if err != nil {
			return fmt.Errorf("list %q: %w", prefix, s.classify(ctx, err))
		}
		for _, object := range page.Contents {
			name := aws.ToString(object.Key)
			if name <= last || !strings.HasPrefix(name, *in.Prefix) || object.Size == nil {
				// Of a server that does this, what else may it leave out?
				return fmt.Errorf("list %q: server lists %.1100q after %.1100q", prefix, name, last)
			}
			last = name
			key := strings.TrimPrefix(name, s.prefix)
			if store.CheckKey(key) != nil {
				continue // not ours
			}
			if err := fn(store.Info{Key: key, Size: *object.Size, Modified: aws.ToTime(object.LastModified)}); err != nil {
				return err
			}
		}
		switch next := aws.ToString(page.NextContinuationToken); {
		case !aws.ToBool(page.IsTruncated):
			return nil
		case next == "" || next == aws.ToString(in.ContinuationToken):
			return fmt.Errorf("list %q: server says that there is more but not how to get it", prefix)
		default:
			in.ContinuationToken = &next
		}
	}
}

// maxDelete is how many objects S3 deletes in one request.
const maxDelete = 1000

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := store.CheckKey(key); err != nil {
			return err
		}
	}
	if len(keys) == 1 {
		_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: s.name(keys[0])})
		if err = s.classify(ctx, err); err != nil && !errors.Is(err, store.ErrNotExist) {
			return fmt.Errorf("delete %s: %w", keys[0], err)
		}
		return nil
	}
	for batch := range slices.Chunk(keys, maxDelete) {
		if err := s.deleteBatch(ctx, batch); err != nil {
			return fmt.Errorf("delete %d objects from %s on: %w", len(batch), batch[0], err)
		}
	}
	return nil
}

func (s *Store) deleteBatch(ctx context.Context, keys []string) error {
	objects := make([]types.ObjectIdentifier, len(keys))
	for i, key := range keys {
		objects[i].Key = s.name(key)
	}
	out, err := s.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: &s.bucket, Delete: &types.Delete{Objects: objects, Quiet: aws.Bool(true)},
	})
	if err != nil {
		return s.classify(ctx, err)
	}
	// The request succeeds even if no object could be deleted.
	var first error
	failed := 0
	for _, e := range out.Errors {
		if aws.ToString(e.Code) != "NoSuchKey" {
			failed++
			if first == nil {
				first = deleteError(e)
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d not deleted, the first: %w", failed, first)
	}
	return nil
}

func deleteError(e types.Error) error {
	err := fmt.Errorf("%s: %s: %s", aws.ToString(e.Key), aws.ToString(e.Code), aws.ToString(e.Message))
	if authCodes[aws.ToString(e.Code)] {
		return fmt.Errorf("%w: %w", store.ErrAuth, err)
	}
	return err
}
