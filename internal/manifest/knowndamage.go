package manifest

import (
	"math"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// KnownDamage is what verifications of a level have found, and none has refuted
// since: a sample that does not find it again need not have read it.
type KnownDamage struct {
	Entry       uint64 // with the verification that found it, 0 for none
	First, Last uint64 // entries that have to be verified again, all of them
	Objects     int64  // at least: another sample may have found others
	Text        string // the first of them, for people
}

// covers says whether a verification is of everything that the damage may be in.
func (k *KnownDamage) covers(v *Verification) bool {
	return v.Share == WholeShare && v.First <= k.First && v.Last >= k.Last
}

func (k *KnownDamage) refutedBy(v *Verification) bool { return v.Damages == 0 && k.covers(v) }

// add takes in what a verification of the level, which entry records, has found.
func (k *KnownDamage) add(entry uint64, v *Verification) {
	if v.Damages == 0 {
		return
	}
	found := KnownDamage{entry, v.First, v.Last, v.Damages, v.Text}
	if k.Entry > 0 && !k.covers(v) {
		if k.Objects > found.Objects {
			found.Entry, found.Objects, found.Text = k.Entry, k.Objects, k.Text
		}
		found.First, found.Last = min(k.First, found.First), max(k.Last, found.Last)
	}
	*k = found
}

// SoundThrough is the last entry up to which every segment was verified at the
// level or a deeper one without a damage, and no damage is known at it or one less deep.
func (s *State) SoundThrough(l Level) uint64 {
	through := s.Verified[l].Through
	for i := range l + 1 {
		if k := &s.Verified[i].Known; k.Entry > 0 {
			through = min(through, k.First-1)
		}
	}
	return through
}

// appendKnown is of a snapshot.
func (s *State) appendKnown() (b []byte) {
	known := false
	for i := range s.Verified {
		k := &s.Verified[i].Known
		b = wire.AppendUvarint(b, k.Entry)
		if k.Entry == 0 {
			continue
		}
		known = true
		for _, n := range []uint64{k.First, k.Last, uint64(k.Objects)} {
			b = wire.AppendUvarint(b, n)
		}
		b = wire.AppendString(b, k.Text)
	}
	if !known {
		return nil
	}
	return b
}

func (s *State) parseKnown(r *wire.Reader) {
	known := false
	for i := range s.Verified {
		k := &s.Verified[i].Known
		if k.Entry = r.Max("entry", s.Sequence); k.Entry == 0 {
			continue
		}
		known = true
		k.First, k.Last = r.Uvarint(), r.Max("entry", s.Sequence)
		k.Objects = int64(r.Max("objects", math.MaxInt64))
		k.Text = r.String("what was found", maxVerificationText)
		if k.First == 0 || k.First > k.Last || k.Objects == 0 {
			r.Failf("damage of %d objects of the entries %d to %d", k.Objects, k.First, k.Last)
		}
	}
	if !known {
		r.Failf("no known damage")
	}
}
