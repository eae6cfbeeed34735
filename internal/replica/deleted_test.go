package replica_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/replica"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/faulty"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

const grace = 24 * time.Hour

// copyLater copies as who has a grace.
func copyLater(t *testing.T, from, to store.Store) {
	t.Helper()
	c, err := copier(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	c.Grace = grace
	if _, err := c.Copy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.Head() != c.Source() {
		t.Fatalf("the copy is at %s, the repository at %s", c.Head(), c.Source())
	}
}

func has(t *testing.T, st store.Store, key string) bool {
	t.Helper()
	return objects(t, st)[key] != nil
}

// The log of the repository can say of anything that it is deleted. The copy deletes
// only what is gone there, once the grace is over since the copy has the entry that
// removed it.
func TestForgedDeletion(t *testing.T) {
	from, to := golden(t), mem.New()
	key, lot := first(t, from)
	synctest.Test(t, func(t *testing.T) {
		copyLater(t, from, to)
		appendEntry(t, from, manifest.Entry{Removed: lot})
		appendEntry(t, from, manifest.Entry{Deleted: lot})
		copyLater(t, from, to)
		if !has(t, to, key) {
			t.Fatal("what the repository still has is deleted in the copy at once")
		}
		time.Sleep(2 * grace)
		copyLater(t, from, to)
		if !has(t, to, key) {
			t.Fatal("what the repository still has is deleted in the copy")
		}
		if err := from.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		copyLater(t, from, to)
		requireEqual(t, from, to)
	})
}

// Who has the first store, and says that it was all removed long ago, still waits for
// the clock of the copy.
func TestDeletionWaitsForTheGrace(t *testing.T) {
	from, to := golden(t), mem.New()
	key, lot := first(t, from)
	synctest.Test(t, func(t *testing.T) {
		copyLater(t, from, to)
		appendEntry(t, from, manifest.Entry{Removed: lot, Time: 1})
		appendEntry(t, from, manifest.Entry{Deleted: lot, Time: 1})
		if err := from.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			copyLater(t, from, to)
			if !has(t, to, key) {
				t.Fatal("it is deleted in the copy before the grace is over")
			}
			time.Sleep(grace / 4)
		}
		time.Sleep(grace)
		copyLater(t, from, to)
		requireEqual(t, from, to)
	})
}

// What a restore from the copy may be reading stays until it has ended.
func TestDeletionWaitsForPins(t *testing.T) {
	from, to := golden(t), mem.New()
	key, lot := first(t, from)
	synctest.Test(t, func(t *testing.T) {
		copyLater(t, from, to)
		repo, err := manifest.Open(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		pin, err := repo.NewPin(t.Context(), manifest.Agent{Program: "restored"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		appendEntry(t, from, manifest.Entry{Removed: lot})
		appendEntry(t, from, manifest.Entry{Deleted: lot})
		if err := from.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		copyLater(t, from, to)
		time.Sleep(2 * grace)
		if err := repo.PutPin(t.Context(), pin); err != nil {
			t.Fatal(err)
		}
		copyLater(t, from, to)
		if !has(t, to, key) {
			t.Fatal("it is deleted under a restore")
		}
		if err := repo.DropPin(t.Context(), pin); err != nil {
			t.Fatal(err)
		}
		copyLater(t, from, to)
		requireEqual(t, from, to)
	})
}

// A running follower deletes when it looks after the copy. That it may not delete, or
// fails to, keeps it from nothing.
func TestFollowerDeletes(t *testing.T) {
	for name, fault := range map[string]faulty.Fault{"it may": 0, "it may not": faulty.Denied, "it fails": faulty.Timeout} {
		fails := name != "it may"
		t.Run(name, func(t *testing.T) {
			from, to := golden(t), mem.New()
			key, lot := first(t, from)
			synctest.Test(t, func(t *testing.T) {
				var rules []faulty.Rule
				for call := 1; fails && call <= 20; call++ {
					rules = append(rules, faulty.Rule{Op: faulty.Delete, Call: call, Fault: fault})
				}
				c, err := copier(t.Context(), from, faulty.New(to, rules...))
				if err != nil {
					t.Fatal(err)
				}
				c.Grace = grace
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				failed := 0
				ended := func(err error) {
					if err != nil {
						failed++
					}
				}
				go (&replica.Follower{Copier: c, Every: time.Minute, Log: c.Log, Ended: ended}).Run(ctx)
				time.Sleep(time.Hour)
				appendEntry(t, from, manifest.Entry{Removed: lot})
				appendEntry(t, from, manifest.Entry{Deleted: lot})
				if err := from.Delete(ctx, key); err != nil {
					t.Fatal(err)
				}
				time.Sleep(grace - time.Minute)
				if !has(t, to, key) {
					t.Fatal("it is deleted before the grace is over")
				}
				time.Sleep(25 * time.Hour)
				if there := has(t, to, key); there != fails || failed > 0 {
					t.Errorf("%d failures; it is there: %t", failed, there)
				}
				if lag, known := c.Lag(); !known || lag != (replica.Lag{}) {
					t.Errorf("%+v behind, known: %t", lag, known)
				}
			})
		})
	}
}
