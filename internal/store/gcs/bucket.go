package gcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"strings"
	"time"

	"google.golang.org/api/googleapi"
	"google.golang.org/api/storage/v1"

	"github.com/offsite-kafka/offsite/internal/store"
)

// PutCorrupt implements store.Corrupter.
func (s *Store) PutCorrupt(ctx context.Context, key string, data []byte) (taken bool, err error) {
	if err := store.CheckKey(key); err != nil {
		return false, err
	}
	service, err := s.service()
	if err != nil {
		return false, s.classify(ctx, err)
	}
	other := encode(^crc32.Checksum(data, castagnoli))
	_, err = service.Objects.Insert(s.bucket, &storage.Object{Name: s.name(key), Crc32c: other}).
		Media(bytes.NewReader(data), googleapi.ChunkSize(0)).Context(ctx).Do()
	if statusOf(err) == http.StatusBadRequest {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("put %s with a wrong checksum: %w", key, s.classify(ctx, err))
	}
	return true, nil
}

// attributes returns some of what GCS knows of the bucket.
func (s *Store) attributes(ctx context.Context, fields ...googleapi.Field) (*storage.Bucket, error) {
	service, err := s.service()
	if err != nil {
		return nil, s.classify(ctx, err)
	}
	bucket, err := service.Buckets.Get(s.bucket).Fields(fields...).Context(ctx).Do()
	if err = s.classify(ctx, err); errors.Is(err, store.ErrAuth) {
		return nil, fmt.Errorf("it needs the right storage.buckets.get: %w", err)
	}
	return bucket, err
}

// Lifecycle implements store.Lifecycler.
func (s *Store) Lifecycle(ctx context.Context) ([]store.LifecycleRule, error) {
	bucket, err := s.attributes(ctx, "lifecycle")
	if err != nil || bucket.Lifecycle == nil {
		return nil, err
	}
	var rules []store.LifecycleRule
	for i, r := range bucket.Lifecycle.Rule {
		rules = append(rules, s.lifecycleOf(fmt.Sprint("number ", i+1), r)...)
	}
	return rules, nil
}

// lifecycleOf returns what a rule of the bucket does to objects of the store: one
// for each prefix that it names.
func (s *Store) lifecycleOf(name string, r *storage.BucketLifecycleRule) (rules []store.LifecycleRule) {
	if r.Action == nil || r.Condition == nil || ofOthers(r.Condition) {
		return nil
	}
	rule := store.LifecycleRule{Name: name, When: when(r.Condition), Only: only(r.Condition)}
	switch r.Action.Type {
	case "Delete":
		rule.Deletes = true
	case "SetStorageClass": // all of them can be read at once
		rule.Class = r.Action.StorageClass
	default:
		return nil // of uploads that were not completed
	}
	prefixes := r.Condition.MatchesPrefix
	if len(prefixes) == 0 {
		prefixes = []string{""}
	}
	for _, prefix := range prefixes {
		if strings.HasPrefix(prefix, s.prefix) || strings.HasPrefix(s.prefix, prefix) {
			rule.Prefix = prefix[min(len(prefix), len(s.prefix)):]
			rules = append(rules, rule)
		}
	}
	return rules
}

// ofOthers tells whether a condition is for versions that are not live any more,
// or for objects with a time of their own, which those of the store have not.
func ofOthers(c *storage.BucketLifecycleRuleCondition) bool {
	return c.IsLive != nil && !*c.IsLive || c.NumNewerVersions > 0 || c.DaysSinceNoncurrentTime > 0 || c.NoncurrentTimeBefore != "" ||
		c.DaysSinceCustomTime > 0 || c.CustomTimeBefore != ""
}

func when(c *storage.BucketLifecycleRuleCondition) string {
	if c.Age == nil {
		return "at once"
	}
	return fmt.Sprintf("after %d days", *c.Age)
}

// only says what else a condition wants of objects.
func only(c *storage.BucketLifecycleRuleCondition) string {
	var words []string
	if c.CreatedBefore != "" {
		words = append(words, "created before "+c.CreatedBefore)
	}
	if len(c.MatchesSuffix) > 0 {
		words = append(words, "whose names end in "+strings.Join(c.MatchesSuffix, " or "))
	}
	if len(c.MatchesStorageClass) > 0 {
		words = append(words, "of the storage class "+strings.Join(c.MatchesStorageClass, " or "))
	}
	return strings.Join(words, ", ")
}

// Versioning implements store.Versioner.
func (s *Store) Versioning(ctx context.Context) (store.Versioning, error) {
	bucket, err := s.attributes(ctx, "versioning", "softDeletePolicy")
	if err != nil {
		return store.Versioning{}, err
	}
	v := store.Versioning{Enabled: bucket.Versioning != nil && bucket.Versioning.Enabled}
	if p := bucket.SoftDeletePolicy; p != nil {
		v.SoftDelete = time.Duration(p.RetentionDurationSeconds) * time.Second
	}
	return v, nil
}

// Lock implements store.Locker.
func (s *Store) Lock(ctx context.Context) (store.Lock, error) {
	bucket, err := s.attributes(ctx, "retentionPolicy", "objectRetention")
	if err != nil {
		return store.Lock{}, err
	}
	lock := store.Lock{Possible: bucket.ObjectRetention != nil && bucket.ObjectRetention.Mode != ""}
	if p := bucket.RetentionPolicy; p != nil && p.RetentionPeriod > 0 {
		lock.Mode, lock.For = "a retention policy that can be removed", time.Duration(p.RetentionPeriod)*time.Second
		if p.IsLocked {
			lock.Mode = "a locked retention policy"
		}
	}
	return lock, nil
}
