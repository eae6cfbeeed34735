package s3_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/s3"
)

var (
	_ store.Corrupter  = (*s3.Store)(nil)
	_ store.Lifecycler = (*s3.Store)(nil)
	_ store.Versioner  = (*s3.Store)(nil)
	_ store.Locker     = (*s3.Store)(nil)
)

// openBucket returns a store under "kafka/prod" of a server that answers everything alike.
func openBucket(t *testing.T, answer http.HandlerFunc) *s3.Store {
	t.Helper()
	web := httptest.NewServer(answer)
	t.Cleanup(web.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	s, err := s3.Open(t.Context(), "bucket", "kafka/prod", s3.Options{Endpoint: web.URL})
	if err != nil {
		t.Fatal(err)
	}
	s.RetryAtOnce()
	return s
}

func TestLifecycle(t *testing.T) {
	const thirty = "<Expiration><Days>30</Days></Expiration>"
	expires := store.LifecycleRule{Name: "r", Deletes: true, When: "after 30 days"}
	of := func(prefix string) store.LifecycleRule {
		r := expires
		r.Prefix = prefix
		return r
	}
	dated := expires
	dated.When = "from 2027-01-01 on"
	for name, test := range map[string]struct {
		rule string // without its status and name
		want []store.LifecycleRule
	}{
		"whole bucket":       {"<Filter></Filter>" + thirty, []store.LifecycleRule{expires}},
		"old way":            {"<Prefix>kafka/</Prefix>" + thirty, []store.LifecycleRule{expires}},
		"same prefix":        {"<Filter><Prefix>kafka/prod/</Prefix></Filter>" + thirty, []store.LifecycleRule{expires}},
		"begins like it":     {"<Filter><Prefix>kafka/pr</Prefix></Filter>" + thirty, []store.LifecycleRule{expires}},
		"part of it":         {"<Filter><Prefix>kafka/prod/log/</Prefix></Filter>" + thirty, []store.LifecycleRule{of("log/")}},
		"another prefix":     {"<Filter><Prefix>kafka/production/</Prefix></Filter>" + thirty, nil},
		"with a tag":         {"<Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>" + thirty, nil},
		"with a tag, too":    {"<Filter><And><Prefix></Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And></Filter>" + thirty, nil},
		"of a size":          {"<Filter><And><Prefix>kafka/prod/data/</Prefix><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></And></Filter>" + thirty, []store.LifecycleRule{of("data/")}},
		"from a date on":     {"<Filter></Filter><Expiration><Date>2027-01-01T00:00:00Z</Date></Expiration>", []store.LifecycleRule{dated}},
		"markers only":       {"<Filter></Filter><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>", nil},
		"old versions":       {"<Filter></Filter><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>", nil},
		"incomplete uploads": {"<Filter></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>", nil},
		"moves": {
			"<Filter></Filter><Transition><Days>30</Days><StorageClass>STANDARD_IA</StorageClass></Transition><Transition><Days>90</Days><StorageClass>GLACIER</StorageClass></Transition>",
			[]store.LifecycleRule{{Name: "r", Class: "STANDARD_IA", When: "after 30 days"}, {Name: "r", Class: "GLACIER", Offline: true, When: "after 90 days"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for status, want := range map[string][]store.LifecycleRule{"Enabled": test.want, "Disabled": nil} {
				s := openBucket(t, text(nil, "<LifecycleConfiguration><Rule><ID>r</ID><Status>"+status+"</Status>"+test.rule+"</Rule></LifecycleConfiguration>"))
				if got, err := s.Lifecycle(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%s: got %+v, %v, want %+v", status, got, err, want)
				}
			}
		})
	}
	s := openBucket(t, apiError(404, "NoSuchLifecycleConfiguration"))
	if got, err := s.Lifecycle(t.Context()); err != nil || got != nil {
		t.Errorf("without a configuration: %v, %v", got, err)
	}
}

func TestVersioning(t *testing.T) {
	for status, want := range map[string]bool{"": false, "<Status>Enabled</Status>": true, "<Status>Suspended</Status>": false} {
		s := openBucket(t, text(nil, "<VersioningConfiguration>"+status+"</VersioningConfiguration>"))
		if got, err := s.Versioning(t.Context()); err != nil || got.Enabled != want {
			t.Errorf("%q: got %+v, %v", status, got, err)
		}
	}
}

func TestLock(t *testing.T) {
	const enabled = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>"
	for content, want := range map[string]store.Lock{
		"":      {},
		enabled: {Possible: true},
		enabled + "<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>30</Days></DefaultRetention></Rule>": {Possible: true, Mode: "COMPLIANCE", For: 30 * 24 * time.Hour},
		enabled + "<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Years>2</Years></DefaultRetention></Rule>": {
			Possible: true, Mode: "GOVERNANCE", For: 2 * 365 * 24 * time.Hour,
		},
	} {
		s := openBucket(t, text(nil, "<ObjectLockConfiguration>"+content+"</ObjectLockConfiguration>"))
		if got, err := s.Lock(t.Context()); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", content, got, err, want)
		}
	}
	s := openBucket(t, apiError(404, "ObjectLockConfigurationNotFoundError"))
	if got, err := s.Lock(t.Context()); err != nil || got != (store.Lock{}) {
		t.Errorf("without a configuration: %+v, %v", got, err)
	}
}

// What is not told has a reason.
func TestUntold(t *testing.T) {
	calls := map[string]func(context.Context, *s3.Store) error{
		"s3:GetLifecycleConfiguration":        func(ctx context.Context, s *s3.Store) error { _, err := s.Lifecycle(ctx); return err },
		"s3:GetBucketVersioning":              func(ctx context.Context, s *s3.Store) error { _, err := s.Versioning(ctx); return err },
		"s3:GetBucketObjectLockConfiguration": func(ctx context.Context, s *s3.Store) error { _, err := s.Lock(ctx); return err },
	}
	for right, call := range calls {
		err := call(t.Context(), openBucket(t, apiError(403, "AccessDenied")))
		if !errors.Is(err, store.ErrAuth) || !strings.Contains(err.Error(), "it needs the right "+right) {
			t.Errorf("got %v, want it to name %s", err, right)
		}
		err = call(t.Context(), openBucket(t, apiError(501, "NotImplemented")))
		if err == nil || !strings.Contains(err.Error(), "does not know the request") {
			t.Errorf("got %v", err)
		}
	}
}

func TestPutCorrupt(t *testing.T) {
	var asked *http.Request
	s := openBucket(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r
		io.Copy(io.Discard, r.Body)
		apiError(400, "BadDigest")(w, r)
	})
	if taken, err := s.PutCorrupt(t.Context(), "k", []byte("data")); taken || err != nil {
		t.Errorf("refused: %t, %v", taken, err)
	}
	// printf data | openssl md5 -binary | base64
	if got := asked.Header.Get("Content-Md5"); len(got) != 24 || got == "jXd/OF09/siBXSD3SWAm3A==" || asked.URL.Path != "/bucket/kafka/prod/k" {
		t.Errorf("sent Content-MD5 %q to %s", got, asked.URL.Path)
	}
	if taken, err := openBucket(t, success).PutCorrupt(t.Context(), "k", []byte("data")); !taken || err != nil {
		t.Errorf("taken: %t, %v", taken, err)
	}
	if taken, err := openBucket(t, apiError(403, "AccessDenied")).PutCorrupt(t.Context(), "k", nil); taken || !errors.Is(err, store.ErrAuth) {
		t.Errorf("denied: %t, %v", taken, err)
	}
}
