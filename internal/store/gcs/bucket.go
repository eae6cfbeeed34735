package gcs

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"strings"
	"time"

	"cloud.google.com/go/storage"

	"github.com/offsite-kafka/offsite/internal/store"
)

// PutCorrupt implements store.Corrupter.
func (s *Store) PutCorrupt(ctx context.Context, key string, data []byte) (taken bool, err error) {
	if err := store.CheckKey(key); err != nil {
		return false, err
	}
	bucket, err := s.handle()
	if err != nil {
		return false, s.classify(ctx, err)
	}
	w := bucket.Object(s.name(key)).NewWriter(ctx)
	w.ChunkSize, w.SendCRC32C, w.CRC32C = 0, true, ^crc32.Checksum(data, castagnoli)
	_, err = w.Write(data)
	err = errors.Join(err, w.Close())
	if statusOf(err) == http.StatusBadRequest {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("put %s with a wrong checksum: %w", key, s.classify(ctx, err))
	}
	return true, nil
}

// attributes returns what GCS knows of the bucket.
func (s *Store) attributes(ctx context.Context) (*storage.BucketAttrs, error) {
	bucket, err := s.handle()
	if err != nil {
		return nil, s.classify(ctx, err)
	}
	attrs, err := bucket.Attrs(ctx)
	if err = s.classify(ctx, err); errors.Is(err, store.ErrAuth) && !errors.Is(err, store.ErrCredentials) {
		return nil, fmt.Errorf("it needs the right storage.buckets.get: %w", err)
	}
	return attrs, err
}

// Lifecycle implements store.Lifecycler.
func (s *Store) Lifecycle(ctx context.Context) ([]store.LifecycleRule, error) {
	bucket, err := s.attributes(ctx)
	if err != nil {
		return nil, err
	}
	var rules []store.LifecycleRule
	for i := range bucket.Lifecycle.Rules {
		rules = append(rules, s.lifecycleOf(fmt.Sprint("number ", i+1), &bucket.Lifecycle.Rules[i])...)
	}
	return rules, nil
}

// lifecycleOf returns what a rule of the bucket does to objects of the store: one
// for each prefix that it names.
func (s *Store) lifecycleOf(name string, r *storage.LifecycleRule) (rules []store.LifecycleRule) {
	if ofOthers(&r.Condition) {
		return nil
	}
	rule := store.LifecycleRule{Name: name, When: when(&r.Condition), Only: only(&r.Condition)}
	switch r.Action.Type {
	case storage.DeleteAction:
		rule.Deletes = true
	case storage.SetStorageClassAction: // all of them can be read at once
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
func ofOthers(c *storage.LifecycleCondition) bool {
	return c.Liveness == storage.Archived || c.NumNewerVersions > 0 || c.DaysSinceNoncurrentTime > 0 || !c.NoncurrentTimeBefore.IsZero() ||
		c.DaysSinceCustomTime > 0 || !c.CustomTimeBefore.IsZero()
}

func when(c *storage.LifecycleCondition) string {
	if c.AgeInDays == 0 && !c.AllObjects {
		return "at once"
	}
	return fmt.Sprintf("after %d days", c.AgeInDays)
}

// only says what else a condition wants of objects.
func only(c *storage.LifecycleCondition) string {
	var words []string
	if !c.CreatedBefore.IsZero() {
		words = append(words, "created before "+c.CreatedBefore.Format(time.DateOnly))
	}
	if len(c.MatchesSuffix) > 0 {
		words = append(words, "whose names end in "+strings.Join(c.MatchesSuffix, " or "))
	}
	if len(c.MatchesStorageClasses) > 0 {
		words = append(words, "of the storage class "+strings.Join(c.MatchesStorageClasses, " or "))
	}
	return strings.Join(words, ", ")
}

// Versioning implements store.Versioner.
func (s *Store) Versioning(ctx context.Context) (store.Versioning, error) {
	bucket, err := s.attributes(ctx)
	if err != nil {
		return store.Versioning{}, err
	}
	v := store.Versioning{Enabled: bucket.VersioningEnabled}
	if p := bucket.SoftDeletePolicy; p != nil {
		v.SoftDelete = p.RetentionDuration
	}
	return v, nil
}

// Lock implements store.Locker.
func (s *Store) Lock(ctx context.Context) (store.Lock, error) {
	bucket, err := s.attributes(ctx)
	if err != nil {
		return store.Lock{}, err
	}
	lock := store.Lock{Possible: bucket.ObjectRetentionMode != ""}
	if p := bucket.RetentionPolicy; p != nil && p.RetentionPeriod > 0 {
		lock.Mode, lock.For = "a retention policy that can be removed", p.RetentionPeriod
		if p.IsLocked {
			lock.Mode = "a locked retention policy"
		}
	}
	return lock, nil
}
