package source

import (
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// snapshotNow puts a snapshot, and states it.
func (s *scribe) snapshotNow() uint64 {
	s.t.Helper()
	ref, err := s.log.PutSnapshot(s.t.Context())
	must(s.t, err)
	must(s.t, s.append(&manifest.Entry{Snapshot: ref}))
	return ref.Sequence
}

// What was moved since is held against what was captured before: it is read from a snapshot on
// that does not have that yet.
func TestSinceLastFindsForgedMoves(t *testing.T) {
	for _, forge := range []bool{false, true} {
		m, clock := mem.New(), firstTime
		m.Now = func() time.Time { clock = clock.Add(time.Second); return clock }
		repo, err := manifest.OpenOrCreate(t.Context(), m, "source", firstTime)
		must(t, err)
		s := newScribeOf(t, repo, 2)
		early := s.snapshotNow()
		s.threeBlocks(batch.None, 0, 1)
		late := s.snapshotNow()
		since := func(begin uint64) *Report {
			t.Helper()
			report, err := Verify(t.Context(), repo, Scope{Level: manifest.LevelDigest, SinceLast: true}, nil)
			must(t, err)
			if report.LogFirst != begin {
				t.Errorf("forged %v: the log is read from entry %d, not %d", forge, report.LogFirst, begin)
			}
			return report
		}
		chain, err := repo.OpenLog(t.Context(), time.Now)
		must(t, err)
		_, err = chain.Record(t.Context(), *since(1).Outcome(), manifest.Agent{})
		must(t, err)
		since(late + 1)
		must(t, s.log.CatchUp(t.Context()))
		if forge {
			s.swap(3, batch.None)
		}
		s.moveAll(0, 1)
		report, whole := since(early+1), s.verify(manifest.LevelDigest)
		if len(report.Damages) != len(whole.Damages) || (len(report.Damages) == 1) != forge || report.Compared != whole.Compared || report.Compared == 0 {
			t.Errorf("forged %v: %+v, and all of it: %+v", forge, report, whole)
		}
		for i := range report.Damages {
			if report.Damages[i].Reason != whole.Damages[i].Reason {
				t.Errorf("%q, and of all of it: %q", report.Damages[i].Reason, whole.Damages[i].Reason)
			}
		}
	}
}
