package source

import (
	"bytes"
	"slices"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Two entries of the log that are damaged in any two ways are damage that a verification reports, both of them, and not the
// end of it; and so is the entry behind them, which is another one's.
func TestLogDamagedTwice(t *testing.T) {
	f, _ := threeDays(t)
	keys := f.keys("log/")
	gone := func(g frozen, key string) frozen { return g.with(key, nil) }
	changed := func(g frozen, key string) frozen {
		c := bytes.Clone(g[key])
		c[len(c)/2] ^= 1
		return g.with(key, c)
	}
	for _, tc := range []struct {
		name          string
		first, second func(frozen, string) frozen
	}{
		{"gone, changed", gone, changed},
		{"changed, gone", changed, gone},
		{"changed, changed", changed, changed},
	} {
		repo, err := manifest.Open(t.Context(), tc.second(tc.first(withEntry(f, keys), keys[1]), keys[2]))
		if err != nil {
			t.Fatal(err)
		}
		r, err := Verify(t.Context(), repo, Scope{Level: manifest.LevelIndex}, nil)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		want := []string{keys[1], keys[2], manifest.LogKey(uint64(len(keys)) + 1)}
		var got []string
		for _, d := range r.Damages {
			got = append(got, d.Key)
		}
		if !slices.Equal(got, want) || r.Damages[0].Entries != 2 || len(r.Restorable) != 1 {
			t.Errorf("%s: found %q, restorable %+v", tc.name, got, r.Restorable)
		}
	}
}

// withEntry lets the log go on: of an end that is gone nobody knows.
func withEntry(f frozen, keys []string) frozen {
	return f.with(manifest.LogKey(uint64(len(keys))+1), f[keys[len(keys)-1]])
}
