package manifest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// hidden leaves out of its listings, and does not find, what without names.
type hidden struct {
	store.Store
	without func(key string) bool
	lists   []string
}

func (h *hidden) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	h.lists = append(h.lists, prefix)
	return h.Store.List(ctx, prefix, func(i store.Info) error {
		if h.without(i.Key) {
			return nil
		}
		return fn(i)
	})
}

func (h *hidden) Stat(ctx context.Context, key string) (store.Info, error) {
	if h.without(key) {
		return store.Info{}, store.ErrNotExist
	}
	return h.Store.Stat(ctx, key)
}

// TestEndOfALogInShards: the end is found from a snapshot on, wherever it lies, and
// so is what is missing before it.
func TestEndOfALogInShards(t *testing.T) {
	st := mem.New()
	l := openLog(t, create(t, st))
	for n := range uint64(20_010) {
		var ref *manifest.SnapshotRef
		if n == 19_995 || n == 19_998 || n == 19_999 {
			var err error
			if ref, err = l.PutSnapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := l.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return &manifest.Entry{Snapshot: ref}, nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name     string
		ends     uint64 // the last entry
		newest   uint64 // the newest snapshot
		missing  uint64 // an entry, or 0
		damage   bool
		allLists bool // all of the log is listed
	}{
		{"within a shard", 19_997, 19_995, 0, false, false},
		{"one before a shard's end", 19_998, 19_995, 0, false, false},
		{"at a shard's end", 19_999, 19_998, 0, false, false},
		{"one behind it, the snapshot at the shard's end", 20_000, 19_999, 0, false, false},
		{"two behind it", 20_001, 19_999, 0, false, false},
		{"nothing behind the snapshot", 19_998, 19_998, 0, false, true},
		{"nothing behind the snapshot at a shard's end", 19_999, 19_999, 0, false, true},
		{"a snapshot behind the end", 19_500, 19_999, 0, false, true},
		{"a gap behind the snapshot", 20_005, 19_995, 19_997, true, true},
		{"a gap before the snapshot", 20_005, 19_995, 19_990, true, true},
		{"the last of a shard is missing", 20_005, 19_995, 19_999, true, true},
		{"the first of a shard is missing", 20_005, 19_999, 20_000, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := &hidden{Store: st, without: func(key string) bool {
				if seq, ok := manifest.ParseSnapshotKey(key); ok {
					return seq > tc.newest
				}
				seq, ok := manifest.ParseLogKey(key)
				return ok && (seq > tc.ends || seq == tc.missing)
			}}
			s, err := open(t, h).State(t.Context(), 0)
			switch {
			case tc.damage:
				if !errors.Is(err, manifest.ErrDamaged) || !strings.Contains(err.Error(), manifest.LogKey(tc.missing)) {
					t.Errorf("got %v, want that entry %d is missing", err, tc.missing)
				}
			case err != nil:
				t.Error(err)
			case s.Sequence != tc.ends:
				t.Errorf("it ends with entry %d, want %d", s.Sequence, tc.ends)
			}
			if slices.Contains(h.lists, "log/") != tc.allLists {
				t.Errorf("listed are %q", h.lists)
			}
		})
	}
	// An entry that comes while a long log is listed does not have it listed again.
	h := &hidden{Store: st, without: func(string) bool { return false }}
	if last, err := open(t, &leaky{Store: h, missing: []uint64{20_010}}).Last(t.Context()); err != nil || last != 20_010 || slices.Contains(h.lists[1:], "log/") {
		t.Errorf("entry %d, %v; listed are %q", last, err, h.lists)
	}
}
