package source

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// A plan says what a verification has found in what it reads, until one finds it sound.
func TestPlanNotesKnownDamage(t *testing.T) {
	f := freeze(t, shop(t).repo.Store())
	key := f.keys("data/")[0]
	spoilt := bytes.Clone(f[key])
	spoilt[len(spoilt)/8] ^= 1
	st := mem.New()
	for k, b := range f.with(key, spoilt) {
		if _, err := st.Put(t.Context(), k, bytes.NewReader(b), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	notes := func() string {
		snap, err := Load(t.Context(), repo, "latest", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		p, err := snap.Plan(t.Context(), nil, Request{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(p.Notes, "\n")
	}
	if got := notes(); strings.Contains(got, "damage") {
		t.Errorf("nothing is known yet: %s", got)
	}
	report, err := Verify(t.Context(), repo, Scope{Level: manifest.LevelDigest}, nil)
	if err != nil || len(report.Damages) != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	log, err := repo.OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	outcome := *report.Outcome()
	record := func(damages int64) {
		outcome.Damages = damages
		if _, err := log.Record(t.Context(), outcome, manifest.Agent{}); err != nil {
			t.Fatal(err)
		}
	}
	record(1)
	if got := notes(); strings.Count(got, key) == 0 || strings.Contains(got, "damaged objects") {
		t.Errorf("one is known: %s", got)
	}
	record(3)
	if got := notes(); !strings.Contains(got, "3 damaged objects") {
		t.Errorf("three are known: %s", got)
	}
	record(0)
	if got := notes(); strings.Contains(got, "damage") {
		t.Errorf("it was found sound: %s", got)
	}
}
