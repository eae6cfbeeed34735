package source

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// threeBlocks captures three blocks of one batch each in every stream.
func (s *scribe) threeBlocks(codec batch.Codec, streams ...int) {
	s.t.Helper()
	for range 3 {
		s.captureAll(0, func(n int) []spec { return []spec{{base: s.at[n], last: 2, size: 600, codec: codec}} }, streams...)
	}
}

// swap makes the next moves have other records in the block of stream 0 that begins at an offset: as many, of the same times.
func (s *scribe) swap(at int64, codec batch.Codec) {
	raw, k := block(at, spec{base: at, last: 2, size: 600, letters: true, codec: codec})
	s.held[[2]int64{0, at}] = blockOf{*k, raw}
}

// reencode makes the next moves store the block of stream 0 that begins at an offset re-encoded.
func (s *scribe) reencode(at int64) {
	s.t.Helper()
	b := s.held[[2]int64{0, at}]
	b.block.Served = int64(len(b.raw))
	var err error
	if b.raw, err = opened(b.raw); err != nil {
		s.t.Fatal(err)
	}
	s.held[[2]int64{0, at}] = b
}

func (s *scribe) moveAll(streams ...int) manifest.SegmentName {
	s.t.Helper()
	name, err := s.move(0, 9, streams...)
	if err != nil {
		s.t.Fatal(err)
	}
	return name
}

func (s *scribe) verify(level manifest.Level) *Report {
	s.t.Helper()
	report, err := Verify(s.t.Context(), s.repo, Scope{Level: level}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return report
}

// Whoever may write can have other records read in the place of captured ones. As long as these are there, that is found:
// also if it was moved once more, and however it is stored.
func TestVerifyFindsForgedMoves(t *testing.T) {
	for _, tc := range []struct {
		name  string
		codec batch.Codec
		again bool // moved once more
		open  bool // re-encoded
	}{
		{"as it was", batch.None, false, false},
		{"moved again", batch.None, true, false},
		{"compressed", batch.LZ4, false, false},
		{"re-encoded", batch.LZ4, false, true},
		{"re-encoded and moved again", batch.LZ4, true, true},
	} {
		for _, forge := range []bool{false, true} {
			s := newScribe(t, 2)
			s.threeBlocks(tc.codec, 0, 1)
			if forge {
				s.swap(3, tc.codec)
			}
			if tc.open {
				s.reencode(0)
				s.reencode(3)
			}
			before := s.log.State().Sequence
			name := s.moveAll(0, 1)
			if tc.again {
				before = s.log.State().Sequence
				name = s.moveAll(0, 1)
			}
			for level := manifest.LevelIndex; level <= manifest.LevelDecode; level++ {
				r := s.verify(level)
				if !forge || level == manifest.LevelIndex {
					if len(r.Damages) > 0 || r.Uncompared > 0 || level > manifest.LevelIndex && r.Compared != 6 {
						t.Errorf("%s, level %s: %d compared, %d not: %+v", tc.name, level, r.Compared, r.Uncompared, r.Damages)
					}
					continue
				}
				if len(r.Damages) != 1 || r.Damages[0].Key != name.Key() || fmt.Sprint(r.Damages[0].Lost) != "[orders-0 [3,6)]" {
					t.Fatalf("%s, level %s: %+v", tc.name, level, r.Damages)
				}
				for _, want := range []string{"not what was captured", "which is still there", fmt.Sprintf("--log-until %d", before), manifest.SegmentKey(s.log.Writer(), 2)} {
					if !strings.Contains(r.Damages[0].Reason, want) {
						t.Errorf("%s, level %s: %q does not say %q", tc.name, level, r.Damages[0].Reason, want)
					}
				}
			}
			s.repo.Until(4) // what was captured
			if r := s.verify(manifest.LevelDecode); len(r.Damages) > 0 || r.Entries != 4 {
				t.Errorf("%s: before the move: %+v", tc.name, r)
			}
		}
	}
}

// That a segment which data was moved into is not there, or has lost its footer, is one
// damage: there is nothing to compare with the originals. Mended, it leaves nothing behind.
func TestMovedSegmentIsGone(t *testing.T) {
	for name, harm := range map[string]func(b []byte) []byte{
		"missing":   func([]byte) []byte { return nil },
		"no footer": func(b []byte) []byte { return append(bytes.Clone(b[:len(b)-30]), make([]byte, 30)...) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScribe(t, 2)
			s.threeBlocks(batch.None, 0, 1)
			key := s.moveAll(0, 1).Key()
			whole := freeze(t, s.repo.Store())
			harmed := whole.with(key, harm(whole[key]))
			for _, dry := range []bool{true, false} {
				repo := thawed(t, harmed, nil)
				r, err := Verify(t.Context(), repo, Scope{Level: manifest.LevelDigest}, nil)
				if err != nil || len(r.Damages) != 1 || r.Damages[0].Key != key || r.Damages[0].contradicts || r.Compared > 0 || r.Uncompared == 0 {
					t.Fatalf("%d compared, %d not: %+v, %v", r.Compared, r.Uncompared, r.Damages, err)
				}
				res, err := (&Repairer{
					Repository: repo, Replica: thawed(t, whole, nil), Cluster: connect(t, fake(t)), Agent: manifest.Agent{Program: "test"}, Log: quiet, DryRun: dry,
				}).Run(t.Context())
				if err != nil || len(res.Damages) != 1 || res.Damages[0].Why != "" || len(res.Report.Damages)+len(res.Report.Losses) > 0 {
					t.Errorf("dry %t: %+v, %v", dry, res, err)
				}
				if got := freeze(t, repo.Store()); !equalStores(got, map[bool]frozen{true: harmed, false: whole}[dry]) {
					t.Errorf("dry %t: the repository is not what it should be", dry)
				}
			}
		})
	}
}

// What replaces a forgery is held against what was captured; where that is deleted there is nothing to hold it against.
func TestOriginalsThatCount(t *testing.T) {
	s := newScribe(t, 1)
	s.threeBlocks(batch.None, 0)
	right := s.held[[2]int64{0, 3}]
	s.swap(3, batch.None)
	s.moveAll(0)
	if r := s.verify(manifest.LevelDigest); len(r.Damages) != 1 {
		t.Fatalf("the forgery: %+v", r.Damages)
	}
	s.held[[2]int64{0, 3}] = right
	s.moveAll(0)
	if r := s.verify(manifest.LevelDigest); len(r.Damages) > 0 || r.Compared != 3 {
		t.Errorf("what was captured is back: %+v", r)
	}
	s.swap(3, batch.None)
	s.moveAll(0)
	for counter := range uint64(3) {
		if err := s.repo.Store().Delete(t.Context(), manifest.SegmentKey(s.log.Writer(), counter+1)); err != nil {
			t.Fatal(err)
		}
	}
	lot := &manifest.SegmentLot{Segments: make(manifest.SegmentSet)}
	for counter := range uint64(4) {
		lot.Segments.Add(s.log.Writer(), counter+1)
	}
	if err := s.append(&manifest.Entry{Removed: lot}); err != nil {
		t.Fatal(err)
	}
	// The first move is the oldest that is there, and says the same as the last one; that it is wrong, nobody can know.
	if r := s.verify(manifest.LevelDigest); len(r.Damages) > 0 || r.Compared != 3 {
		t.Errorf("what was captured is gone: %+v", r)
	}
}

// Sealed blocks that were copied as they are need not be opened to be compared. What is sealed anew, only a reader can tell.
func TestForgedMovesOfWhatIsSealed(t *testing.T) {
	repo, reader, writer := sealedRepository(t)
	s := newScribeOf(t, repo, 1)
	s.threeBlocks(batch.None, 0)
	as := func(id *crypt.Identity) *Report {
		t.Helper()
		own, err := manifest.Open(t.Context(), repo.Store())
		if err != nil {
			t.Fatal(err)
		}
		own.Unlock(id)
		r, err := Verify(t.Context(), own, Scope{Level: manifest.LevelDigest}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	s.swap(3, batch.None)
	s.moveAll(0) // sealed anew, all of it
	if r := as(writer); len(r.Damages) > 0 || r.Compared != 0 || r.Uncompared != 3 {
		t.Errorf("a writer: %+v", r)
	}
	if r := as(reader); len(r.Damages) != 1 || fmt.Sprint(r.Damages[0].Lost) != "[orders-0 [3,6)]" || r.Compared != 3 || r.Uncompared != 0 {
		t.Errorf("a reader: %+v", r)
	}
}
