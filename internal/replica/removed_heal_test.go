package replica_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/replica"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// What is removed and not deleted yet a copy has, too, so that the log up to an entry
// before can be read there. It is sent again as long as the repository has it.
func TestRemovedIsHealed(t *testing.T) {
	from, to := golden(t), mem.New()
	key, lot := first(t, from)
	appendEntry(t, from, manifest.Entry{Removed: lot})
	whole := objects(t, from)
	if _, err := copyAll(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	if err := to.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if done, err := copyAll(t.Context(), from, to); err != nil || done.Missing != 1 {
		t.Errorf("missing: %+v, %v", done, err)
	}
	requireEqual(t, from, to)
	flipped := bytes.Clone(whole[key])
	flipped[len(flipped)/2] ^= 1
	put(t, to, map[string][]byte{key: flipped})
	if done, err := copyVerified(t.Context(), from, to); err != nil || done.Damaged != 1 {
		t.Errorf("damaged: %+v, %v", done, err)
	}
	requireEqual(t, from, to)

	// What neither side has, nobody can send, and need not.
	if err := errors.Join(from.Delete(t.Context(), key), to.Delete(t.Context(), key)); err != nil {
		t.Fatal(err)
	}
	c, err := copier(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	if todo, err := c.Survey(t.Context()); err != nil || todo != (replica.Result{}) {
		t.Errorf("to do: %+v, %v", todo, err)
	}
	if done, err := copyVerified(t.Context(), from, to); err != nil || done.Missing > 0 {
		t.Errorf("gone in the repository: %+v, %v", done, err)
	}
}

// A report that is damaged in the repository is not left out without a word, unless the
// copy has it as it was.
func TestDamagedReport(t *testing.T) {
	from, to := reported(t), mem.New()
	key := report(t, from)
	whole := objects(t, from)
	put(t, from, map[string][]byte{key: whole[key][:len(whole[key])-3]})
	for range 2 {
		_, err := copyAll(t.Context(), from, to)
		var unhealed *replica.UnhealedError
		if !errors.As(err, &unhealed) || unhealed.Objects != 1 || !errors.Is(err, manifest.ErrDamaged) || !strings.Contains(err.Error(), key) {
			t.Errorf("a damaged report: %v", err)
		}
	}
	if has(t, to, key) {
		t.Error("it is copied")
	}
	put(t, to, map[string][]byte{key: whole[key]})
	if _, err := copyAll(t.Context(), from, to); err != nil {
		t.Errorf("the copy has it: %v", err)
	}
	if got := objects(t, to)[key]; !slices.Equal(got, whole[key]) {
		t.Error("it is replaced in the copy")
	}
}

// A copy that is taken away under a follower is made again at its next round, not
// within a day.
func TestCopyIsTakenAway(t *testing.T) {
	for _, lost := range []string{manifest.RepositoryKey, manifest.ReplicaKey, "the last entry"} {
		t.Run(lost, func(t *testing.T) {
			from, to := golden(t), mem.New()
			synctest.Test(t, func(t *testing.T) {
				c, err := copier(t.Context(), from, to)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Copy(t.Context()); err != nil {
					t.Fatal(err)
				}
				if lost == "the last entry" {
					lost = manifest.LogKey(c.Head().Sequence)
				}
				seg, _ := first(t, from)
				if err := to.Delete(t.Context(), lost, seg); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				done, err := c.Copy(t.Context())
				if err != nil || done.Missing+done.Entries < 1 {
					t.Errorf("the next round: %+v, %v", done, err)
				}
				requireEqual(t, from, to)
			})
		})
	}
}
