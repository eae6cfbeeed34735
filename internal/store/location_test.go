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
