package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
)

func TestCheckKey(t *testing.T) {
	long := strings.Repeat("x", store.MaxElementLen)
	valid := []string{"a", "a/b", "a.b", "a..b", "a-", "-", "_", "0", "log/00/000.entry", long, long + "/" + long}
	invalid := []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", ".tmp/x", "a/.hidden",
		"A", "a b", "a\x00b", "a\\b", "a%2e", "a:b", "é", "a\xff", "a\n", "a+b", long + "x", long + "/" + long + "/x",
	}
	for _, key := range valid {
		if err := store.CheckKey(key); err != nil {
			t.Errorf("CheckKey(%q) = %v, want nil", key, err)
		}
		for i := range len(key) + 1 {
			if err := store.CheckPrefix(key[:i]); err != nil {
				t.Errorf("CheckPrefix(%q), the beginning of a key, = %v, want nil", key[:i], err)
			}
		}
	}
	for _, key := range invalid {
		if err := store.CheckKey(key); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("CheckKey(%q) = %v, want ErrInvalid", key, err)
		}
	}
}

func TestCheckPrefix(t *testing.T) {
	for _, prefix := range []string{"", "a", "a/", "log/0"} {
		if err := store.CheckPrefix(prefix); err != nil {
			t.Errorf("CheckPrefix(%q) = %v, want nil", prefix, err)
		}
	}
	for _, prefix := range []string{"/", ".", "..", "../", "a/..", "a//", "//", "A", "a\x00", strings.Repeat("x", store.MaxKeyLen+1)} {
		if err := store.CheckPrefix(prefix); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("CheckPrefix(%q) = %v, want ErrInvalid", prefix, err)
		}
	}
}
