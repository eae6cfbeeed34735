package source

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// footerAt is where the footer of a segment begins.
func footerAt(t *testing.T, f frozen, key string) int64 {
	t.Helper()
	repo, err := manifest.Open(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	at := int64(-1)
	_, err = repo.Read(t.Context(), 0, func(_ *manifest.State, e *manifest.Entry) error {
		for i := range e.Segments {
			if manifest.SegmentKey(e.Writer, e.Segments[i].Counter) == key {
				at = e.Segments[i].Size - e.Segments[i].TailLength()
			}
		}
		return nil
	})
	if err != nil || at < 0 {
		t.Fatalf("%s: %v", key, err)
	}
	return at
}

func verifyAt(t *testing.T, f frozen, scope Scope) *Report {
	t.Helper()
	repo, err := manifest.Open(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	report, err := Verify(t.Context(), repo, scope, nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// Each level finds what it says, names the place and reads no more than it must.
func TestLevels(t *testing.T) {
	f, _ := threeDays(t)
	key := f.keys("data/")[0]
	end := footerAt(t, f, key)
	size := int64(len(f[key]))
	flip := func(at int64) frozen {
		b := bytes.Clone(f[key])
		b[at] ^= 1
		return f.with(key, b)
	}
	for _, tc := range []struct {
		name     string
		st       frozen
		position int64 // of the damage
		from     manifest.Level
	}{
		{"missing", f.with(key, nil), 0, manifest.LevelIndex},
		{"cut", f.with(key, f[key][:size-1]), end, manifest.LevelIndex},
		{"a byte more", f.with(key, append(bytes.Clone(f[key]), 0)), end, manifest.LevelIndex},
		{"footer", flip(end), end, manifest.LevelIndex},
		{"trailer", flip(size - 1), end, manifest.LevelIndex},
		{"header", flip(0), 0, manifest.LevelDigest},
		{"first block", flip(segment.HeaderSize), segment.HeaderSize, manifest.LevelDigest},
	} {
		for level := manifest.LevelIndex; level <= manifest.LevelDecode; level++ {
			report := verifyAt(t, tc.st, Scope{Level: level})
			switch found := len(report.Damages) == 1 && report.Damages[0].Key == key && report.Damages[0].Position == tc.position && len(report.Damages[0].Lost) > 0; {
			case level < tc.from && len(report.Damages) > 0:
				t.Errorf("%s: level %s finds %+v", tc.name, level, report.Damages)
			case level >= tc.from && !found:
				t.Errorf("%s: level %s finds %+v, want it at %d", tc.name, level, report.Damages, tc.position)
			}
			if report.Read > report.Bytes || level == manifest.LevelIndex && report.Read == report.Bytes || level > manifest.LevelIndex && report.Read != report.Bytes {
				t.Errorf("%s: level %s reads %d of %d bytes", tc.name, level, report.Read, report.Bytes)
			}
		}
	}
}

// A sample is the same for the same seed, about as large as it is to be, and does
// not keep a segment that is missing from being found.
func TestSample(t *testing.T) {
	const many = 20_000
	for _, share := range []int64{1_000, 50_000, 500_000, 999_999, manifest.WholeShare} {
		a, b, other := Scope{Share: share, Seed: 7}, Scope{Share: share, Seed: 7}, Scope{Share: share, Seed: 8}
		chosen, same := 0, 0
		for i := range many {
			key := manifest.SegmentKey(manifest.ID{1}, uint64(i))
			if a.chooses(key) != b.chooses(key) {
				t.Fatalf("%s is chosen at random", key)
			}
			if a.chooses(key) {
				chosen++
			}
			if a.chooses(key) == other.chooses(key) {
				same++
			}
		}
		if want := int(share * many / manifest.WholeShare); chosen < want*8/10 || chosen > want*12/10 || share == 500_000 && same > many*6/10 {
			t.Errorf("%d of %d are chosen, want %d; %d as with another seed", chosen, many, want, same)
		}
	}
	f, _ := threeDays(t)
	keys := f.keys("data/")
	for seed := uint64(0); ; seed++ {
		scope := Scope{Level: manifest.LevelDigest, Share: 400_000, Seed: seed}
		if scope.chooses(keys[0]) || !scope.chooses(keys[1]) {
			continue
		}
		bad := bytes.Clone(f[keys[0]])
		bad[0] ^= 1
		if report := verifyAt(t, f.with(keys[0], bad), scope); len(report.Damages) > 0 || report.Segments == 0 || report.Segments >= int64(len(keys)) || report.Share != 400_000 || report.Seed != seed {
			t.Errorf("a bad one that is not chosen: %+v", report)
		}
		report := verifyAt(t, f.with(keys[0], nil), scope)
		if len(report.Damages) != 1 || report.Damages[0].Key != keys[0] || len(report.Damages[0].Lost) == 0 {
			t.Errorf("a missing one that is not chosen: %+v", report)
		}
		return
	}
}

// unlisted leaves an object out of its listings.
type unlisted struct {
	frozen
	key string
}

func (u unlisted) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	return u.frozen.List(ctx, prefix, func(i store.Info) error {
		if i.Key == u.key {
			return nil
		}
		return fn(i)
	})
}

// A segment that a listing leaves out is not missing.
func TestListingWithoutSegment(t *testing.T) {
	f, _ := threeDays(t)
	key := f.keys("data/")[0]
	for _, scope := range []Scope{{Level: manifest.LevelIndex}, {Level: manifest.LevelDigest, Share: 1}} {
		for _, there := range []bool{true, false} {
			st := unlisted{f, key}
			if !there {
				st.frozen = f.with(key, nil)
			}
			repo, err := manifest.Open(t.Context(), st)
			if err != nil {
				t.Fatal(err)
			}
			report, err := Verify(t.Context(), repo, scope, nil)
			if err != nil || there != (len(report.Damages) == 0) {
				t.Errorf("%+v, there: %t: %+v, %v", scope, there, report, err)
			}
		}
	}
}

// What a damage costs is said of each point: before the damaged data there is
// nothing to lack, nor once the source itself had deleted it.
func TestRestorable(t *testing.T) {
	a := newAuthor(t)
	topics := []manifest.TopicChange{{Number: 0, Topic: manifest.Topic{ID: [16]byte{1}, Name: "orders", Partitions: 1}}, {Number: 1, Topic: manifest.Topic{ID: [16]byte{2}, Name: "bills", Partitions: 1}}}
	streams := []manifest.NewStream{{Topic: 0, Parent: -1}, {Topic: 1, Parent: -1}}
	a.commit(manifest.Entry{Topics: topics, Streams: streams, Point: point()}, written{0, 0, []spec{{base: 0, last: 1}}}, written{1, 0, []spec{{base: 0, last: 1}}})
	a.commit(manifest.Entry{Point: point()}, written{0, 2, []spec{{base: 2, last: 1}}})
	a.commit(manifest.Entry{Point: &manifest.Point{Exceptions: []manifest.CutException{{Stream: 1, Behind: 2}}}}, written{1, 2, []spec{{base: 2, last: 1}}})
	a.commit(manifest.Entry{Point: point()})
	a.commit(manifest.Entry{LogStarts: []manifest.LogStart{{Stream: 0, Offset: 4}}, Point: point()})
	gone := topics[1]
	gone.Gone = true
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{gone}, Point: point()})
	a.sound()
	f := freeze(t, a.repo.Store())
	keys := f.keys("data/")
	for _, tc := range []struct {
		missing []string
		want    string
	}{
		{nil, "1-6 (6): []"},
		{keys[1:2], "1-1 (1): [] 2-4 (3): [orders] 5-6 (2): []"},
		{keys[2:3], "1-3 (3): [] 4-5 (2): [bills] 6-6 (1): []"},
		{keys[:1], "1-4 (4): [bills orders] 5-5 (1): [bills] 6-6 (1): []"},
		{keys[1:], "1-1 (1): [] 2-3 (2): [orders] 4-4 (1): [bills orders] 5-5 (1): [bills] 6-6 (1): []"},
	} {
		damaged := f
		for _, key := range tc.missing {
			damaged = damaged.with(key, nil)
		}
		got := ""
		for _, run := range verifyAt(t, damaged, Scope{}).Restorable {
			got += fmt.Sprintf(" %d-%d (%d): %v", run.First.Sequence, run.Last.Sequence, run.Count, run.Topics)
		}
		if got != " "+tc.want {
			t.Errorf("without %q: got%s, want %s", tc.missing, got, tc.want)
		}
	}
}

// A verification that is recorded spares the next one what it has read, if it was
// as deep, read everything and found no damage.
func TestSinceLast(t *testing.T) {
	a := shop(t)
	record := func(scope Scope) *Report {
		t.Helper()
		report, err := Verify(t.Context(), a.repo, scope, nil)
		if err != nil {
			t.Fatal(err)
		}
		log, err := a.repo.OpenLog(t.Context(), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if outcome := report.Outcome(); outcome != nil {
			if _, err := log.Record(t.Context(), *outcome, manifest.Agent{Program: "test verify"}); err != nil {
				t.Fatal(err)
			}
		}
		return report
	}
	first := func(level manifest.Level) uint64 { return record(Scope{Level: level, SinceLast: true}).First }
	if got := record(Scope{Level: manifest.LevelDigest, Share: 500_000}); got.First != 1 {
		t.Errorf("from entry %d", got.First)
	}
	if got := first(manifest.LevelDigest); got != 1 {
		t.Errorf("after a sample, from entry %d", got)
	}
	last := a.state(t).Sequence // which records that one
	if got := first(manifest.LevelDigest); got != last {
		t.Errorf("after a whole one, from entry %d, want %d", got, last)
	}
	if got := first(manifest.LevelIndex); got != last+1 {
		t.Errorf("after a deeper one, from entry %d, want %d", got, last+1)
	}
	if got := first(manifest.LevelDecode); got != 1 {
		t.Errorf("after one that was not as deep, from entry %d", got)
	}
	state := a.state(t)
	if v := state.Verified[manifest.LevelDecode]; v.Entry != state.Sequence || v.Through != state.Sequence-1 || v.Damages != 0 || v.Segments == 0 || v.Bytes == 0 {
		t.Errorf("the log says %+v", v)
	}
	if state.Agent != nil && state.Agent.Program == "test verify" {
		t.Error("who verifies counts as a writer")
	}
	events, err := a.repo.Events(t.Context(), nil)
	if err != nil || !slices.ContainsFunc(events, func(e manifest.Event) bool { return e.Kind == manifest.EventVerified && e.Entry == state.Sequence }) {
		t.Errorf("events %+v, %v", events, err)
	}
}

func (a *author) state(t *testing.T) *manifest.State {
	t.Helper()
	state, err := a.repo.Read(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// What is found is found again, and stays in the log.
func TestDamageIsRecorded(t *testing.T) {
	a := shop(t)
	f := freeze(t, a.repo.Store())
	st := mem.New()
	key := f.keys("data/")[0]
	for k, b := range f.with(key, nil) {
		if _, err := st.Put(t.Context(), k, bytes.NewReader(b), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		report, err := Verify(t.Context(), repo, Scope{Level: manifest.LevelDigest, SinceLast: true}, nil)
		if err != nil || len(report.Damages) != 1 || report.First != 1 {
			t.Fatalf("got %+v, %v", report, err)
		}
		log, err := repo.OpenLog(t.Context(), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Record(t.Context(), *report.Outcome(), manifest.Agent{}); err != nil {
			t.Fatal(err)
		}
		if v := log.State().Verified[manifest.LevelDigest]; v.Damages != 1 || v.Through != 0 || !strings.HasPrefix(v.Text, key+": segment is damaged: missing") {
			t.Errorf("the log says %+v", v)
		}
	}
}

// What the log has removed is looked at by nobody, whether it is there or not.
func TestRemovedSegmentsAreNotVerified(t *testing.T) {
	a := shop(t)
	key := freeze(t, a.repo.Store()).keys("data/")[0]
	writer, counter, _ := manifest.ParseSegmentKey(key)
	lot := &manifest.SegmentLot{Segments: manifest.SegmentSet{}}
	lot.Segments.Add(writer, counter)
	a.commit(manifest.Entry{Removed: lot})
	f := freeze(t, a.repo.Store())
	for name, st := range map[string]frozen{"there": f, "spoilt": f.with(key, []byte("no segment")), "not there": f.with(key, nil)} {
		report := verifyAt(t, st, Scope{Level: manifest.LevelDigest})
		if len(report.Damages) != 1 || report.Damages[0].Key != manifest.LogKey(3) || len(report.Orphans) > 0 || report.Segments != 1 {
			t.Errorf("%s: that the entry was wrong is all that is to be said: %+v", name, report)
		}
	}
}

// The smallest sample reads a segment, the one that is in each larger one, and says so.
func TestSmallestSample(t *testing.T) {
	f, _ := threeDays(t)
	keys := f.keys("data/")
	for seed := range uint64(20) {
		scope := Scope{Level: manifest.LevelDigest, Share: 1, Seed: seed}
		report := verifyAt(t, f, scope)
		if report.Segments != 1 || report.Read == 0 || report.There != int64(len(keys)) {
			t.Fatalf("seed %d: %d of %d segments, %d bytes are read", seed, report.Segments, report.There, report.Read)
		}
		first := slices.MinFunc(keys, func(a, b string) int { return int(scope.lot(a) - scope.lot(b)) })
		bad := bytes.Clone(f[first])
		bad[0] ^= 1
		if report := verifyAt(t, f.with(first, bad), scope); len(report.Damages) != 1 || report.Damages[0].Key != first {
			t.Fatalf("seed %d: %+v", seed, report.Damages)
		}
	}
}

// What is missing is named by the key of the damage, and not in its reason once more.
func TestMissingIsNamedOnce(t *testing.T) {
	f, _ := threeDays(t)
	key := f.keys("data/")[0]
	report := verifyAt(t, f.with(key, nil), Scope{Level: manifest.LevelDigest})
	if len(report.Damages) != 1 || report.Damages[0].Key != key || strings.Contains(report.Damages[0].Reason, key) || !strings.Contains(report.Damages[0].Reason, "missing") {
		t.Errorf("got %+v", report.Damages)
	}
}
