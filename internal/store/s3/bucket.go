package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/offsite-kafka/offsite/internal/store"
)

const day = 24 * time.Hour

// mismatchCodes are what servers say to content that is not that of its checksum.
var mismatchCodes = map[string]bool{"BadDigest": true, "InvalidDigest": true, "XAmzContentChecksumMismatch": true, "XAmzContentSHA256Mismatch": true}

// PutCorrupt implements store.Corrupter, with a Content-MD5, which every server
// knows. TLS, or the SHA-256 in the signature, protects content besides.
func (s *Store) PutCorrupt(ctx context.Context, key string, data []byte) (taken bool, err error) {
	if err := store.CheckKey(key); err != nil {
		return false, err
	}
	_, err = s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.bucket, Key: s.name(key), Body: bytes.NewReader(data), ContentMD5: md5Of(append(bytes.Clone(data), 'x')).md5,
	})
	if mismatchCodes[codeOf(err)] {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("put %s with a wrong checksum: %w", key, s.classify(ctx, err))
	}
	return true, nil
}

// Lifecycle implements store.Lifecycler.
func (s *Store) Lifecycle(ctx context.Context) ([]store.LifecycleRule, error) {
	out, err := s.client.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &s.bucket})
	if codeOf(err) == "NoSuchLifecycleConfiguration" {
		return nil, nil
	}
	if err != nil {
		return nil, s.ofBucket(ctx, "s3:GetLifecycleConfiguration", err)
	}
	var rules []store.LifecycleRule
	for i := range out.Rules {
		rules = append(rules, s.lifecycleOf(&out.Rules[i])...)
	}
	return rules, nil
}

// lifecycleOf returns what a rule of the bucket does to objects of the store.
// Versions that are not current, and parts of uploads, are none.
func (s *Store) lifecycleOf(r *types.LifecycleRule) (rules []store.LifecycleRule) {
	prefix, tagged := filterOf(r)
	if r.Status != types.ExpirationStatusEnabled || tagged || !strings.HasPrefix(prefix, s.prefix) && !strings.HasPrefix(s.prefix, prefix) {
		return nil // objects of the store have no tags
	}
	rule := store.LifecycleRule{Name: aws.ToString(r.ID), Prefix: prefix[min(len(prefix), len(s.prefix)):]}
	if e := r.Expiration; e != nil && (e.Days != nil || e.Date != nil) {
		expires := rule
		expires.Deletes, expires.When = true, when(e.Days, e.Date)
		rules = append(rules, expires)
	}
	for _, t := range r.Transitions {
		moves := rule
		moves.Class, moves.When = string(t.StorageClass), when(t.Days, t.Date)
		moves.Offline = t.StorageClass == types.TransitionStorageClassGlacier || t.StorageClass == types.TransitionStorageClassDeepArchive
		rules = append(rules, moves)
	}
	return rules
}

// filterOf returns the names that a rule is for, and whether only objects with
// tags are meant.
func filterOf(r *types.LifecycleRule) (prefix string, tagged bool) {
	switch f := r.Filter; {
	case f == nil:
		return aws.ToString(r.Prefix), false //nolint:staticcheck // rules of before 2013 have no other
	case f.And != nil:
		return aws.ToString(f.And.Prefix), len(f.And.Tags) > 0
	default:
		return aws.ToString(f.Prefix), f.Tag != nil
	}
}

func when(days *int32, date *time.Time) string {
	if date != nil {
		return "from " + date.Format(time.DateOnly) + " on"
	}
	return fmt.Sprintf("after %d days", aws.ToInt32(days))
}

// Versioning implements store.Versioner.
func (s *Store) Versioning(ctx context.Context) (store.Versioning, error) {
	out, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &s.bucket})
	if err != nil {
		return store.Versioning{}, s.ofBucket(ctx, "s3:GetBucketVersioning", err)
	}
	return store.Versioning{Enabled: out.Status == types.BucketVersioningStatusEnabled}, nil
}

// Lock implements store.Locker.
func (s *Store) Lock(ctx context.Context) (store.Lock, error) {
	out, err := s.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &s.bucket})
	if codeOf(err) == "ObjectLockConfigurationNotFoundError" {
		return store.Lock{}, nil
	}
	if err != nil {
		return store.Lock{}, s.ofBucket(ctx, "s3:GetBucketObjectLockConfiguration", err)
	}
	c := out.ObjectLockConfiguration
	if c == nil || c.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
		return store.Lock{}, nil
	}
	lock := store.Lock{Possible: true}
	if c.Rule != nil && c.Rule.DefaultRetention != nil {
		kept := c.Rule.DefaultRetention
		lock.Mode = string(kept.Mode)
		lock.For = time.Duration(aws.ToInt32(kept.Days))*day + time.Duration(aws.ToInt32(kept.Years))*365*day
	}
	return lock, nil
}

// lockTrial is for how long an object is locked that only tries it.
const lockTrial = time.Hour

// Locks implements store.LockTrier.
func (s *Store) Locks() store.Lock { return s.terms.lock }

// TryLock implements store.LockTrier.
func (s *Store) TryLock(ctx context.Context, key string, data []byte) (locked bool, err error) {
	if err := store.CheckKey(key); err != nil {
		return false, err
	}
	t := terms{lock: store.Lock{Mode: s.terms.lock.Mode, For: lockTrial}}.lockedFrom(time.Now())
	err = s.send(data, func(c checksums) error {
		in := &s3.PutObjectInput{Bucket: &s.bucket, Key: s.name(key), Body: bytes.NewReader(data), ContentMD5: c.md5, ChecksumCRC32C: c.crc32c}
		t.ofPut(in)
		_, err := s.client.PutObject(ctx, in)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("put %s: %w", key, t.explain(s.ofBucket(ctx, "s3:PutObjectRetention", err)))
	}
	out, err := s.client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: &s.bucket, Key: s.name(key)})
	switch {
	case codeOf(err) == "NoSuchObjectLockConfiguration":
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for the lock of %s: %w", key, s.ofBucket(ctx, "s3:GetObjectRetention", err))
	case out.Retention == nil || string(out.Retention.Mode) != t.lock.Mode || out.Retention.RetainUntilDate == nil:
		return false, nil
	}
	return out.Retention.RetainUntilDate.After(t.until.Add(-time.Minute)), nil // servers may cut off the seconds
}

// ofBucket says why the server does not tell something about the bucket. Not every
// server knows what was asked.
func (s *Store) ofBucket(ctx context.Context, right string, err error) error {
	if status := statusOf(err); status == http.StatusNotImplemented || status == http.StatusMethodNotAllowed {
		return errors.New("the server does not know the request")
	}
	err = s.classify(ctx, err)
	if errors.Is(err, store.ErrAuth) && !errors.Is(err, store.ErrCredentials) {
		return fmt.Errorf("it needs the right %s: %w", right, err)
	}
	return err
}
