package manifest_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// A repository gets back what says that it is one from a copy, and from nothing else.
func TestMendDescriptor(t *testing.T) {
	st, second, other := audited(t), mem.New(), audited(t)
	put := func(st store.Store, key string, b []byte) {
		t.Helper()
		if _, err := st.Put(t.Context(), key, bytes.NewReader(b), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	lose := func(key string) {
		t.Helper()
		if err := st.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	was, first := objectAt(t, st, manifest.RepositoryKey), objectAt(t, st, manifest.LogKey(1))
	put(second, manifest.RepositoryKey, was)
	if mended, err := manifest.MendDescriptor(t.Context(), st, second, false); mended || err != nil {
		t.Errorf("of a sound one: %t, %v", mended, err)
	}
	for name, spoil := range map[string]func(){
		"missing": func() { lose(manifest.RepositoryKey) },
		"damaged": func() { put(st, manifest.RepositoryKey, bytes.Replace(was, []byte("cluster"), []byte("clusters"), 1)) },
		"empty":   func() { put(st, manifest.RepositoryKey, nil) },
	} {
		spoil()
		if mended, err := manifest.MendDescriptor(t.Context(), st, other, false); mended || !errors.Is(err, manifest.ErrDiverged) {
			t.Errorf("%s, from another repository: %t, %v", name, mended, err)
		}
		if mended, err := manifest.MendDescriptor(t.Context(), st, second, true); !mended || err != nil {
			t.Errorf("%s, dry: %t, %v", name, mended, err)
		}
		if _, err := manifest.Open(t.Context(), st); !errors.Is(err, manifest.ErrDamaged) {
			t.Errorf("%s, nothing was to be done: %v", name, err)
		}
		if mended, err := manifest.MendDescriptor(t.Context(), st, second, false); !mended || err != nil || !bytes.Equal(objectAt(t, st, manifest.RepositoryKey), was) {
			t.Errorf("%s: %t, %v", name, mended, err)
		}
	}
	lose(manifest.RepositoryKey)
	lose(manifest.LogKey(1))
	if mended, err := manifest.MendDescriptor(t.Context(), st, second, false); mended || err == nil || !strings.Contains(err.Error(), "could prove it") {
		t.Errorf("without the first entry: %t, %v", mended, err)
	}
	put(st, manifest.LogKey(1), first)
	if mended, err := manifest.MendDescriptor(t.Context(), st, second, false); !mended || err != nil {
		t.Errorf("with it again: %t, %v", mended, err)
	}
}
