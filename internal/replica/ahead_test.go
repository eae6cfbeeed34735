package replica_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/replica"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// A repository that has lost the end of its log, or all of it, is behind its copy: who
// looks at it, or copies to it, is told so. Other differences are not that.
func TestAhead(t *testing.T) {
	whole := objects(t, golden(t))
	upTo := func(last uint64) map[string][]byte {
		all := maps.Clone(whole)
		maps.DeleteFunc(all, func(key string, _ []byte) bool { return strings.HasPrefix(key, "log/") && key > manifest.LogKey(last) })
		return all
	}
	goneOn := func(entries int) map[string][]byte {
		st := mem.New()
		put(t, st, whole)
		for range entries {
			appendEmpty(t, st)
		}
		return objects(t, st)
	}
	for name, tc := range map[string]struct {
		from, to map[string][]byte
		ahead    bool
	}{
		"the end is lost":    {upTo(5), whole, true},
		"the last is lost":   {upTo(5), upTo(6), true},
		"all of it is lost":  {upTo(0), whole, true},
		"the copy is behind": {whole, upTo(5), false},
		"both are the same":  {whole, whole, false},
		"there is no copy":   {whole, nil, false},
		"another log":        {goneOn(1), goneOn(2), false},
		"another repository": {upTo(5), objects(t, goldens(t)["groups"]), false},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := mem.New(), mem.New()
			put(t, from, tc.from)
			put(t, to, tc.to)
			repo, err := manifest.Open(t.Context(), from)
			if err != nil {
				t.Fatal(err)
			}
			if err := replica.Ahead(t.Context(), repo, to); errors.Is(err, replica.ErrAhead) != tc.ahead || !tc.ahead && err != nil {
				t.Errorf("got %v", err)
			}
			if !maps.EqualFunc(objects(t, to), tc.to, func(a, b []byte) bool { return string(a) == string(b) }) {
				t.Error("looking has changed the copy")
			}
			if !tc.ahead {
				return
			}
			if _, err := copyAll(t.Context(), from, to); !errors.Is(err, replica.ErrAhead) || errors.Is(err, manifest.ErrDiverged) {
				t.Errorf("copied: %v", err)
			}
			if _, err := replica.Look(t.Context(), repo, read(t, repo), to); !errors.Is(err, replica.ErrAhead) {
				t.Errorf("looked at: %v", err)
			}
		})
	}
}

// Of a copy that was promoted its copier says that, whether the repository has grown since or
// not. Who looks at it before anything is appended is told as long as the logs have not parted.
func TestCopyToWhatWasPromoted(t *testing.T) {
	from, to := golden(t), mem.New()
	if _, err := copyAll(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	if err := promote(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	says := func(when string, goesOn bool) {
		_, err := copyAll(t.Context(), from, to)
		if !errors.Is(err, manifest.ErrDiverged) || !strings.Contains(err.Error(), "it was promoted by its entry") {
			t.Errorf("%s: %v", when, err)
		}
		repo, err := manifest.Open(t.Context(), from)
		if err != nil {
			t.Fatal(err)
		}
		if err := replica.Ahead(t.Context(), repo, to); errors.Is(err, replica.ErrPromoted) != goesOn || !goesOn && err != nil {
			t.Errorf("%s: looked at: %v", when, err)
		}
	}
	says("promoted", true)
	appendEmpty(t, from)
	says("promoted, and the repository has grown", false)
	appendEmpty(t, to)
	says("promoted, and both have grown", false)
}

// appendEmpty appends an entry.
func appendEmpty(t *testing.T, st store.Store) {
	t.Helper()
	log, err := openLog(t, st)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(context.Background(), func(*manifest.State) (*manifest.Entry, error) { return &manifest.Entry{Time: 1}, nil }); err != nil {
		t.Fatal(err)
	}
}
