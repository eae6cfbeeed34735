package storecheck_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/storecheck"
)

// Where nothing can have been put, nothing is said to stay behind.
func TestNothingStaysBehind(t *testing.T) {
	for name, err := range map[string]error{"no bucket": store.ErrInvalid, "no server": store.ErrUnreachable, "no right": store.ErrAuth} {
		b := newBucket()
		b.put = func(context.Context, string, io.Reader, store.PutOptions) (store.Info, error) {
			return store.Info{}, fmt.Errorf("%w: so says %s", err, name)
		}
		b.stat = func(context.Context, string) (store.Info, error) { return store.Info{}, err }
		b.remove = func(context.Context, ...string) error { return err }
		if left, _ := storecheck.Run(t.Context(), b, func(storecheck.Result) {}); len(left) > 0 {
			t.Errorf("%s: %q is said to stay behind", name, left)
		}
	}
}

// With a wrong secret, more rights are not what is missing.
func TestWrongCredentials(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"wrong secret": {fmt.Errorf("%w: %w: status 403: SignatureDoesNotMatch", store.ErrAuth, store.ErrCredentials), "check the credentials themselves"},
		"no right":     {store.ErrAuth, "rights of backupd"},
	} {
		b := newBucket()
		b.put = func(context.Context, string, io.Reader, store.PutOptions) (store.Info, error) {
			return store.Info{}, test.err
		}
		found, _ := run(t, b)
		if fix := found["create"].Fix; !strings.Contains(fix, test.want) {
			t.Errorf("%s: the fix is %q", name, fix)
		}
	}
}
