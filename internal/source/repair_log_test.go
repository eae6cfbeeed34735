package source

import (
	"fmt"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Entries of the log that are damaged or missing come back from a copy, with all that
// was captured, and so does a segment that is damaged beside them.
func TestRepairOfTheLog(t *testing.T) {
	_, cluster, f := backedUp(t)
	f = longer(t, f, 6)
	entries := f.keys("log/")
	last := len(entries)
	cut := func(f frozen, n int) frozen {
		return f.with(manifest.LogKey(uint64(n)), f[manifest.LogKey(uint64(n))][:50])
	}
	without := func(f frozen, n int) frozen { return f.with(manifest.LogKey(uint64(n)), nil) }
	segment := f.keys("data/")[0]
	for name, tc := range map[string]struct {
		harmed, copied frozen
		why            string // why not
		mended         int
	}{
		"the first is missing":            {harmed: without(f, 1), copied: f, mended: 1},
		"one is missing":                  {harmed: without(f, 3), copied: f, mended: 1},
		"one is cut":                      {harmed: cut(f, 3), copied: f, mended: 1},
		"the last is cut":                 {harmed: cut(f, last), copied: f, mended: 1},
		"some, here and there":            {harmed: cut(without(without(f, 2), 3), 5), copied: f, mended: 3},
		"two are cut":                     {harmed: cut(cut(f, 3), 5), copied: f, mended: 2},
		"two are cut, and no copy":        {harmed: cut(cut(f, 3), 5), why: whyNoCopy},
		"a segment, too":                  {harmed: cut(f, 3).with(segment, nil), copied: f, mended: 2},
		"a copy that ends there":          {harmed: cut(f, last-1), copied: without(f, last), mended: 1},
		"a copy that ends before":         {harmed: cut(f, last), copied: without(f, last), why: whyTooShort},
		"a copy that is damaged, too":     {harmed: cut(f, 3), copied: cut(f, 3), why: "nor can the copy's log be read: " + manifest.LogKey(3) + ": cut short at 50 bytes"},
		"no copy":                         {harmed: cut(f, 3), why: whyNoCopy},
		"a copy that is longer, as it is": {harmed: without(cut(f, last-1), last), copied: f, mended: 2},
		"the end is missing":              {harmed: without(without(f, last-1), last), copied: f, mended: 2},
		"the end and one before":          {harmed: without(without(without(f, 3), last-1), last), copied: f, mended: 3},
		"all is missing":                  {harmed: onlyRepository(f), copied: f, mended: len(f) - 1},
	} {
		t.Run(name, func(t *testing.T) {
			var replica *manifest.Repository
			if tc.copied != nil {
				replica = thawed(t, tc.copied, nil)
			}
			for _, dry := range []bool{true, false} {
				repo := thawed(t, tc.harmed, nil)
				r := &Repairer{Repository: repo, Replica: replica, Cluster: cluster, Agent: manifest.Agent{Program: "test"}, Log: quiet, DryRun: dry}
				res, err := r.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				var why []string
				for _, m := range res.Damages {
					if m.Why != "" {
						why = append(why, m.Why)
					}
				}
				if tc.why != "" {
					if len(why) == 0 || why[0] != tc.why {
						t.Errorf("dry %t: %q, want %q", dry, why, tc.why)
					}
					continue
				}
				if len(why) > 0 || !dry && len(res.Damages) != tc.mended || len(res.Damages) == 0 {
					t.Errorf("dry %t: %+v", dry, res.Damages)
				}
				if got := freeze(t, repo.Store()); !equalStores(got, map[bool]frozen{true: tc.harmed, false: f}[dry]) && name != "a copy that ends before" {
					t.Errorf("dry %t: the repository has %s", dry, fmt.Sprint(got.keys("")))
				}
			}
		})
	}
}

// An entry that does not belong there is not put there, however sound it is.
func TestRepairOfTheLogByAnother(t *testing.T) {
	_, cluster, f := backedUp(t)
	gap := len(f.keys("log/")) + 1
	other, harmed := longer(t, f, 1), longer(t, f, 3).with(manifest.LogKey(uint64(gap)), nil)
	repo := thawed(t, harmed, nil)
	res, err := (&Repairer{Repository: repo, Replica: thawed(t, other, nil), Cluster: cluster, Agent: manifest.Agent{Program: "test"}, Log: quiet}).Run(t.Context())
	if err != nil || len(res.Damages) == 0 || res.Damages[0].Why != whyNoLink {
		t.Errorf("%+v, %v", res, err)
	}
	if !equalStores(freeze(t, repo.Store()), harmed) {
		t.Error("the repository has changed")
	}
}

// What another log has behind the end of this one is not put there, nor what a copy has
// of its own since it was promoted.
func TestRepairOfTheEndByAnother(t *testing.T) {
	_, cluster, f := backedUp(t)
	copied := thawed(t, longer(t, f, 1), nil)
	if err := manifest.MarkReplica(t.Context(), copied.Store()); err != nil {
		t.Fatal(err)
	}
	if _, err := copied.Promote(t.Context(), manifest.Agent{Program: "test"}, "", time.Now); err != nil {
		t.Fatal(err)
	}
	promoted := longer(t, freeze(t, copied.Store()), 1)
	own := len(f.keys("log/")) + 1
	for name, tc := range map[string]struct {
		harmed, copied frozen
		mended         int
	}{
		"another log":                  {harmed: longer(t, f, 1), copied: longer(t, f, 3)},
		"promoted":                     {harmed: promoted.with(manifest.LogKey(uint64(own+1)), nil).with(manifest.LogKey(uint64(own+2)), nil), copied: promoted},
		"one is lost, and it promoted": {harmed: f, copied: promoted, mended: 1},
	} {
		t.Run(name, func(t *testing.T) {
			repo := thawed(t, tc.harmed.with(manifest.ReplicaKey, nil), nil)
			res, err := (&Repairer{Repository: repo, Replica: thawed(t, tc.copied, nil), Cluster: cluster, Agent: manifest.Agent{Program: "test"}, Log: quiet}).Run(t.Context())
			if err != nil || len(res.Damages) != tc.mended {
				t.Errorf("%+v, %v", res, err)
			}
			if got := len(freeze(t, repo.Store()).keys("log/")); got != len(tc.harmed.keys("log/"))+tc.mended {
				t.Errorf("the repository has %d entries", got)
			}
		})
	}
}

// onlyRepository is one that has nothing but its descriptor.
func onlyRepository(f frozen) frozen {
	return frozen{manifest.RepositoryKey: f[manifest.RepositoryKey]}
}

// longer is a repository with some more entries, which are others each time.
func longer(t *testing.T, f frozen, n int) frozen {
	t.Helper()
	repo := thawed(t, f, nil)
	log, err := repo.OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) {
			return &manifest.Entry{Time: int64(i)}, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return freeze(t, repo.Store())
}
