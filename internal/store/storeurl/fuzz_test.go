package storeurl_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store/storeurl"
)

// FuzzOpen: a URL opens a store or is refused, and no error shows a password. Nothing is contacted.
func FuzzOpen(f *testing.F) {
	for _, text := range []string{
		"/backups/kafka", "file:///backups", "s3://bucket/prefix", "gs://bucket/a/b", "az://account/container/prefix", "./a:b",
		"s3://key:secret@bucket/prefix", "s3:%40secret@bucket", "gs://bucket?x=y#z", "az://account//", "s3://bucket:9000/x", "file:relative", "",
	} {
		f.Add(text)
	}
	f.Setenv("AZURE_STORAGE_KEY", "AAAA")
	f.Setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:1")
	f.Setenv("AWS_ACCESS_KEY_ID", "a")
	f.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	f.Fuzz(func(t *testing.T, text string) {
		st, err := storeurl.Open(t.Context(), text, storeurl.Options{})
		if (st == nil) == (err == nil) {
			t.Fatalf("%q: got %v, %v", text, st, err)
		}
		u, bad := url.Parse(text)
		if err == nil || bad != nil || u.User == nil {
			return
		}
		if secret, _ := u.User.Password(); len(secret) > 8 && strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
