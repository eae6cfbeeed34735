package storecheck_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
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
		"many lines":   {fmt.Errorf("%w: tried:\n\tone\n\n\tother", store.ErrNoCredentials), "check the credentials themselves"},
		"full":         {fmt.Errorf("%w: %w", store.ErrFull, &fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}), "make room"},
		"no right":     {store.ErrAuth, "rights of backupd"},
		"no file":      {fmt.Errorf("%w: %w", store.ErrAuth, &fs.PathError{Op: "mkdir", Path: "/x", Err: fs.ErrPermission}), "owner and the permissions of the directory"},
	} {
		b := newBucket()
		b.put = func(context.Context, string, io.Reader, store.PutOptions) (store.Info, error) {
			return store.Info{}, test.err
		}
		b.tells = test.err
		found, _ := run(t, b)
		for check, r := range found {
			if strings.Contains(r.Detail, "\n") {
				t.Errorf("%s: %s has several lines: %q", name, check, r.Detail)
			}
		}
		if r := found["lifecycle"]; errors.Is(test.err, store.ErrCredentials) && (r.Detail != store.ErrCredentials.Error() || r.Fix != found["create"].Fix) {
			t.Errorf("%s: of the lifecycle it says %+v", name, r)
		}
		if fix := found["create"].Fix; !strings.Contains(fix, test.want) {
			t.Errorf("%s: the fix is %q", name, fix)
		}
	}
}
