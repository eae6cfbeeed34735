package store_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
)

// FuzzParseLocation: a URL names one place, or is refused, and no error shows a password.
func FuzzParseLocation(f *testing.F) {
	for _, text := range []string{
		"/backups/kafka", "file:///backups", "s3://bucket/prefix", "gs://bucket/a/b", "az://account/container/prefix", "./a:b",
		"s3://key:verysecret@bucket/prefix", "s3:%40secret@bucket", "gs://bucket?x=y#z", "az://account//", "s3://bucket:9000/x", "file:relative", "",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := store.ParseLocation(text)
		if err == nil {
			if (l.Scheme == "") == (l.Path == "") || (l.Scheme == "") == (l.Bucket != "") || (l.Scheme == "az") == (l.Container == "") {
				t.Errorf("%q is %+v", text, l)
			}
			return
		}
		u, bad := url.Parse(text)
		if bad != nil || u.User == nil {
			return
		}
		if secret, _ := u.User.Password(); len(secret) > 8 && strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func TestOverlaps(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"/a/b", "/a/b/", true}, {"/a/b", "/a/b/data", true}, {"/a", "/a/b", true}, {"/", "/a", true}, {"/a/b", "/a/bc", false}, {"/a/./b", "file:///a/b", true},
		{"s3://x/p", "s3://x/p/", true}, {"s3://x", "s3://x/p", true}, {"s3://x/p", "s3://x/pq", false}, {"s3://x/p", "s3://y/p", false},
		{"s3://x/p", "gs://x/p", false}, {"az://x/c/p", "az://x/c/p/q", true}, {"az://x/c/p", "az://x/d/p", false},
	} {
		a, err := store.ParseLocation(test.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := store.ParseLocation(test.b)
		if err != nil {
			t.Fatal(err)
		}
		if a.Overlaps(b) != test.want || b.Overlaps(a) != test.want {
			t.Errorf("%s and %s: want %t", test.a, test.b, test.want)
		}
	}
}
