package replica_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

func openLog(t *testing.T, st store.Store) (*manifest.Log, error) {
	t.Helper()
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	return repo.OpenLog(t.Context(), time.Now)
}

func promote(ctx context.Context, st store.Store) error {
	repo, err := manifest.Open(ctx, st)
	if err == nil {
		_, err = repo.Promote(ctx, manifest.Agent{Program: "test promote"}, "the first one is gone", time.Now)
	}
	return err
}

// Nothing but a copier writes to a copy, until that is promoted. Then no copier does.
func TestPromotion(t *testing.T) {
	from, to := golden(t), mem.New()
	if err := promote(t.Context(), from); !errors.Is(err, manifest.ErrNoReplica) {
		t.Errorf("what is no replica is promoted: %v", err)
	}
	if _, err := copyAll(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	if _, err := openLog(t, to); !errors.Is(err, manifest.ErrReplica) {
		t.Errorf("a copy is written to: %v", err)
	}
	repo, err := manifest.Open(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Follow(t.Context(), time.Now, nil); !errors.Is(err, manifest.ErrReplica) {
		t.Errorf("a copy is written to: %v", err)
	}
	if _, err := openLog(t, from); err != nil {
		t.Errorf("the repository: %v", err)
	}
	if _, err := copyAll(t.Context(), from, to); err != nil {
		t.Fatalf("the copy: %v", err)
	}
	if err := promote(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if _, err := openLog(t, to); err != nil {
		t.Errorf("a copy that was promoted: %v", err)
	}
	if err := promote(t.Context(), to); !errors.Is(err, manifest.ErrNoReplica) {
		t.Errorf("promoted again: %v", err)
	}
	if _, err := copyAll(t.Context(), from, to); !errors.Is(err, manifest.ErrDiverged) {
		t.Errorf("copied to what was promoted: %v", err)
	}

	again := mem.New()
	if _, err := copyAll(t.Context(), to, again); err != nil {
		t.Fatal(err)
	}
	if _, err := openLog(t, again); !errors.Is(err, manifest.ErrReplica) {
		t.Errorf("a copy of what was promoted is written to: %v", err)
	}
	if _, err := copyAll(t.Context(), to, from); err != nil { // the way back
		t.Fatal(err)
	}
	if _, err := openLog(t, from); !errors.Is(err, manifest.ErrReplica) {
		t.Errorf("the first one, a copy now, is written to: %v", err)
	}
}

// Copying from a copy to what that was copied from does not make that one a copy.
func TestWrongWayRound(t *testing.T) {
	from, to, third := golden(t), mem.New(), mem.New()
	if _, err := copyAll(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	if _, err := copyAll(t.Context(), to, from); !errors.Is(err, manifest.ErrDiverged) {
		t.Errorf("the wrong way round: %v", err)
	}
	if _, err := openLog(t, from); err != nil {
		t.Errorf("the repository: %v", err)
	}
	for range 2 {
		if _, err := copyAll(t.Context(), to, third); err != nil {
			t.Errorf("a copy of a copy: %v", err)
		}
	}
}

// What the log of a copy tells of verifications was read of the repository's objects.
func TestVerifiedElsewhere(t *testing.T) {
	from, to := golden(t), mem.New()
	report := verify(t, from)
	log, err := openLog(t, from)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Record(t.Context(), *report.Outcome(), manifest.Agent{}); err != nil {
		t.Fatal(err)
	}
	if _, err := copyAll(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	key, _ := first(t, from)
	spoilt := bytes.Clone(objects(t, to)[key])
	spoilt[20] ^= 1
	put(t, to, map[string][]byte{key: spoilt})
	if report := verify(t, from); report.First == 1 {
		t.Errorf("the repository is verified from entry %d on", report.First)
	}
	if report := verify(t, to); len(report.Damages) != 1 {
		t.Errorf("the copy: %+v", report)
	}
	if err := promote(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if report := verify(t, to); len(report.Damages) != 1 {
		t.Errorf("the copy, once it is promoted: %+v", report)
	}
}

func verify(t *testing.T, st store.Store) *source.Report {
	t.Helper()
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	report, err := source.Verify(t.Context(), repo, source.Scope{Level: manifest.LevelDigest, SinceLast: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}
