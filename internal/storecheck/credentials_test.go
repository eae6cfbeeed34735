package storecheck_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
)

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
