package gcs_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/gcs"
)

var (
	_ store.Corrupter  = (*gcs.Store)(nil)
	_ store.Lifecycler = (*gcs.Store)(nil)
	_ store.Versioner  = (*gcs.Store)(nil)
	_ store.Locker     = (*gcs.Store)(nil)
)

// openBucket returns a store under "kafka/prod" of a server that answers everything alike.
func openBucket(t *testing.T, answer http.HandlerFunc) *gcs.Store {
	t.Helper()
	web := httptest.NewServer(answer)
	t.Cleanup(web.Close)
	return openAt(t, web.URL, "kafka/prod")
}

func TestLifecycle(t *testing.T) {
	rule := func(action, condition string) string {
		return `{"lifecycle":{"rule":[{"action":` + action + `,"condition":` + condition + `}]}}`
	}
	const deletes = `{"type":"Delete"}`
	expires := store.LifecycleRule{Name: "number 1", Deletes: true, When: "after 30 days"}
	log, suffix, old := expires, expires, expires
	log.Prefix, suffix.Only = "log/", "whose names end in .tmp"
	old.When, old.Only = "at once", "created before 2026-01-01"
	for name, test := range map[string]struct {
		bucket string
		want   []store.LifecycleRule
	}{
		"none":               {`{}`, nil},
		"whole bucket":       {rule(deletes, `{"age":30}`), []store.LifecycleRule{expires}},
		"prefixes":           {rule(deletes, `{"age":30,"matchesPrefix":["other/","kafka/prod/log/","kafka/"]}`), []store.LifecycleRule{log, expires}},
		"another prefix":     {rule(deletes, `{"age":30,"matchesPrefix":["kafka/production/"]}`), nil},
		"suffix":             {rule(deletes, `{"age":30,"matchesSuffix":[".tmp"]}`), []store.LifecycleRule{suffix}},
		"created before":     {rule(deletes, `{"createdBefore":"2026-01-01"}`), []store.LifecycleRule{old}},
		"old versions":       {rule(deletes, `{"numNewerVersions":3}`), nil},
		"not live":           {rule(deletes, `{"age":30,"isLive":false}`), nil},
		"time of its own":    {rule(deletes, `{"daysSinceCustomTime":3}`), nil},
		"incomplete uploads": {rule(`{"type":"AbortIncompleteMultipartUpload"}`, `{"age":7}`), nil},
		"moves":              {rule(`{"type":"SetStorageClass","storageClass":"ARCHIVE"}`, `{"age":30}`), []store.LifecycleRule{{Name: "number 1", Class: "ARCHIVE", When: "after 30 days"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := openBucket(t, text(200, test.bucket)).Lifecycle(t.Context())
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

func TestVersioningAndLock(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for bucket, want := range map[string]struct {
		versioning store.Versioning
		lock       store.Lock
	}{
		`{}`: {},
		`{"versioning":{"enabled":true},"softDeletePolicy":{"retentionDurationSeconds":"604800"}}`:                {versioning: store.Versioning{Enabled: true, SoftDelete: week}},
		`{"objectRetention":{"mode":"Enabled"}}`:                                                                  {lock: store.Lock{Possible: true}},
		`{"retentionPolicy":{"effectiveTime":"2026-11-01T00:00:00Z","retentionPeriod":"604800"}}`:                 {lock: store.Lock{Mode: "a retention policy that can be removed", For: week}},
		`{"retentionPolicy":{"effectiveTime":"2026-11-01T00:00:00Z","retentionPeriod":"604800","isLocked":true}}`: {lock: store.Lock{Mode: "a locked retention policy", For: week}},
	} {
		s := openBucket(t, text(200, bucket))
		if got, err := s.Versioning(t.Context()); err != nil || got != want.versioning {
			t.Errorf("%s: %+v, %v, want %+v", bucket, got, err, want.versioning)
		}
		if got, err := s.Lock(t.Context()); err != nil || got != want.lock {
			t.Errorf("%s: %+v, %v, want %+v", bucket, got, err, want.lock)
		}
	}
}

func TestUntold(t *testing.T) {
	s := openBucket(t, apiError(403, "forbidden", "no"))
	for name, call := range map[string]func(context.Context) error{
		"lifecycle":  func(ctx context.Context) error { _, err := s.Lifecycle(ctx); return err },
		"versioning": func(ctx context.Context) error { _, err := s.Versioning(ctx); return err },
		"lock":       func(ctx context.Context) error { _, err := s.Lock(ctx); return err },
	} {
		if err := call(t.Context()); !errors.Is(err, store.ErrAuth) || !strings.Contains(err.Error(), "storage.buckets.get") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPutCorrupt(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		taken  bool
		err    error
	}{
		"refused": {apiError(400, "invalid", "Provided CRC32C does not match"), false, nil},
		"taken":   {stored(4), true, nil},
		"denied":  {apiError(403, "forbidden", "no"), false, store.ErrAuth},
	} {
		taken, err := openBucket(t, test.answer).PutCorrupt(t.Context(), "k", []byte("data"))
		if taken != test.taken || !errors.Is(err, test.err) {
			t.Errorf("%s: %t, %v", name, taken, err)
		}
	}
}
