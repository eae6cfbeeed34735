package source

import (
	"slices"
	"testing"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// whole verifies all in a process that knows nothing, and returns how many entries it reads.
func (a *aged) whole() (*Report, int64) {
	a.t.Helper()
	repo, err := manifest.Open(a.t.Context(), a.st)
	must(a.t, err)
	a.st.n.Store(0)
	report, err := Verify(a.t.Context(), repo, Scope{Level: manifest.LevelDigest}, nil)
	must(a.t, err)
	return report, a.st.n.Load()
}

// twice is how many entries may be read once more: those behind the newest snapshot, and
// one that states it.
const twice = 100 + 1

// A verification reads each entry once, but for those behind the newest snapshot.
func TestVerifyReadsTheLogOnce(t *testing.T) {
	t.Parallel()
	a := newAged(t, 650)
	report, n := a.whole()
	last := int64(a.log.State().Sequence)
	if len(report.Damages) > 0 || report.Segments != 33 || report.Blocks != 33 || n < last || n > last+twice {
		t.Errorf("%d entries are read of %d: %+v", n, last, report)
	}
}

// What a snapshot says hides nothing, also if an entry states the snapshot.
func TestVerifyBelievesNoSnapshot(t *testing.T) {
	t.Parallel()
	a := newAged(t, 650)
	s := a.log.State()
	segments := s.Segments.Clone()
	s.Segments = segments.Clone()
	gone := make(manifest.SegmentSet)
	gone.Add(a.log.Writer(), 1)
	s.Segments.RemoveAll(gone)
	ref, err := a.log.PutSnapshot(t.Context())
	must(t, err)
	s.Segments = segments
	a.commit(manifest.Entry{Snapshot: ref})
	must(t, a.st.Delete(t.Context(), manifest.SegmentKey(a.log.Writer(), 1)))
	report, _ := a.whole()
	keys := make(map[string]bool)
	for _, d := range report.Damages {
		keys[d.Key] = true
	}
	if len(keys) != 2 || !keys[manifest.SnapshotKey(ref.Sequence)] || !keys[manifest.SegmentKey(a.log.Writer(), 1)] || report.Segments != 33 || len(report.Orphans) > 0 {
		t.Errorf("got %+v", report)
	}
}

// Damage of an entry from before the newest snapshot is found, and costs what comes behind it.
func TestVerifyFindsAnOldEntryAltered(t *testing.T) {
	t.Parallel()
	a := newAged(t, 650)
	b := a.bytes(manifest.LogKey(77))
	b[len(b)-1] ^= 1
	must(t, a.st.Delete(t.Context(), manifest.LogKey(77)))
	a.put(manifest.LogKey(77), b)
	report, _ := a.whole()
	if len(report.Damages) != 1 || report.Damages[0].Key != manifest.LogKey(77) || report.Damages[0].Entries != 77 || report.Entries != 76 || report.Segments != 4 || report.LogFirst != 1 {
		t.Errorf("got %+v", report)
	}
}

// What was moved is held against its originals in the same reading of the log.
func TestVerifyReadsTheLogOnceAlsoForMoves(t *testing.T) {
	t.Parallel()
	st := &entriesOpened{Store: mem.New()}
	repo, err := manifest.OpenOrCreate(t.Context(), st, "source", firstTime)
	must(t, err)
	s := newScribeOf(t, repo, 2)
	s.threeBlocks(batch.None, 0, 1)
	s.moveAll(0, 1)
	for range 60 {
		must(t, s.append(&manifest.Entry{}))
	}
	s.snapshotNow()
	repo, err = manifest.Open(t.Context(), st)
	must(t, err)
	st.n.Store(0)
	report, err := Verify(t.Context(), repo, Scope{Level: manifest.LevelDigest}, nil)
	if last := int64(s.log.State().Sequence); err != nil || len(report.Damages) > 0 || report.Compared == 0 || st.n.Load() > last+2 {
		t.Errorf("%d entries are read of %d: %+v, %v", st.n.Load(), last, report, err)
	}
}

// What is removed is held against what points need in the same reading of the log.
func TestVerifyReadsTheLogOnceAlsoForRemovals(t *testing.T) {
	t.Parallel()
	a := newAged(t, 250)
	for point := uint64(21); point < 201; point += 20 {
		a.commit(manifest.Entry{PointChanges: []manifest.PointChange{{Point: point, Deleted: true}}})
	}
	a.commit(manifest.Entry{LogStarts: []manifest.LogStart{{Stream: 0, Offset: 20}}, Point: point()})
	for p := uint64(201); p < 250; p += 20 {
		a.commit(manifest.Entry{PointChanges: []manifest.PointChange{{Point: p, Deleted: true}}})
	}
	remove(t, a.author, 1, 21, 41)
	a.grow(150)
	report, n := a.whole()
	last := int64(a.log.State().Sequence)
	if len(report.Damages) > 0 || report.There != report.Segments || report.Segments != 17 || n > last+twice {
		t.Errorf("%d entries are read of %d: %+v", n, last, report)
	}
}

// Entries that were altered are named all, where the chain tells; what is between them is not.
func TestVerifyNamesEachAlteredEntry(t *testing.T) {
	t.Parallel()
	a := newAged(t, 250)
	swap := func(seq uint64, b []byte) {
		must(t, a.st.Delete(t.Context(), manifest.LogKey(seq)))
		a.put(manifest.LogKey(seq), b)
	}
	for _, seq := range []uint64{50, 120, 250} {
		b := a.bytes(manifest.LogKey(seq))
		b[len(b)-40] ^= 1
		swap(seq, b)
	}
	swap(180, a.bytes(manifest.LogKey(181)))
	other := newAged(t, 250)
	swap(200, other.bytes(manifest.LogKey(200))) // sound by itself
	must(t, a.st.Delete(t.Context(), manifest.LogKey(230)))
	report, _ := a.whole()
	var found []uint64
	for _, d := range report.Damages {
		if d.Key != manifest.LogKey(d.Entries) || d.Reason == "" {
			t.Errorf("got %+v", d)
		}
		found = append(found, d.Entries)
	}
	if want := []uint64{50, 120, 180, 200, 230, 250}; !slices.Equal(found, want) || report.Entries != 49 {
		t.Errorf("found are %v of %v: %+v", found, want, report)
	}
}
