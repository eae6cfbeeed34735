package manifest

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// secVerification is a section that readers may skip.
const secVerification = 131

// Level says how deeply a verification looks. Each does what the ones before it do.
type Level uint8

// The levels.
const (
	LevelIndex  Level = 0 // the log, the footers of segments, and that all objects are there
	LevelDigest Level = 1 // the SHA-256 of every stored byte
	LevelDecode Level = 2 // every batch and record
	LevelReplay Level = 3 // a restore that is read back

	levels = 4
)

var levelNames = [levels]string{"index", "digest", "decode", "replay"}

func (l Level) String() string { return levelNames[l] }

// ParseLevel returns the level with the given name.
func ParseLevel(name string) (Level, error) {
	for i, known := range levelNames {
		if name == known {
			return Level(i), nil
		}
	}
	return 0, fmt.Errorf("%q is none of %s", name, strings.Join(levelNames[:], ", "))
}

// WholeShare is the share of a verification that chose nothing.
const WholeShare = 1_000_000

// Verification is what somebody found who verified the repository.
type Verification struct {
	Level       Level
	First, Last uint64 // entries whose segments were verified
	Share       int64  // of those segments, in millionths
	Seed        uint64 // of the choice
	Segments    int64  // that were looked at
	Bytes       int64  // that were read of them
	Damages     int64  // objects
	Text        string // the first of the damages, for people
}

// Verified is the last verification of a level that the log tells of.
type Verified struct {
	Entry uint64 // that records it, 0 for none
	Time  int64  // of that entry
	Verification
	// Through is the last entry up to which every segment was verified at this
	// level or a deeper one, without a damage.
	Through uint64
	Known   KnownDamage
}

// maxVerificationText bounds Verification.Text in bytes.
const maxVerificationText = 1 << 10

func (v *Verification) append() (b []byte) {
	if v == nil {
		return nil
	}
	b = append(b, byte(v.Level))
	for _, n := range []uint64{v.First, v.Last, uint64(v.Share)} {
		b = wire.AppendUvarint(b, n)
	}
	b = binary.BigEndian.AppendUint64(b, v.Seed)
	for _, n := range []int64{v.Segments, v.Bytes, v.Damages} {
		b = wire.AppendUvarint(b, uint64(n))
	}
	return wire.AppendString(b, v.Text)
}

func parseVerification(r *wire.Reader) *Verification {
	v := &Verification{Level: Level(r.Byte()), First: r.Uvarint(), Last: r.Uvarint(), Share: int64(r.Max("share", WholeShare))}
	if b := r.Bytes(8); len(b) == 8 {
		v.Seed = binary.BigEndian.Uint64(b)
	}
	v.Segments, v.Bytes, v.Damages = int64(r.Max("segments", math.MaxInt64)), int64(r.Max("bytes", math.MaxInt64)), int64(r.Max("damages", math.MaxInt64))
	v.Text = r.String("what was found", maxVerificationText)
	if v.Level >= levels || v.Share == 0 || v.First == 0 || v.First > v.Last {
		r.Failf("a verification of level %d, of %d millionths of the entries %d to %d", v.Level, v.Share, v.First, v.Last)
	}
	return v
}

func (e *Entry) checkVerification() error {
	if e.Verification != nil && e.Verification.Last >= e.Sequence {
		return fmt.Errorf("a verification of entry %d, which did not exist", e.Verification.Last)
	}
	return nil
}

func (s *State) applyVerification(e *Entry) {
	v := e.Verification
	if v == nil {
		return
	}
	last := &s.Verified[v.Level]
	last.Entry, last.Time, last.Verification = e.Sequence, e.Time, *v
	last.Known.add(e.Sequence, v)
	for l := range v.Level + 1 {
		if s.Verified[l].Known.refutedBy(v) {
			s.Verified[l].Known = KnownDamage{}
		}
		if through := &s.Verified[l].Through; v.Share == WholeShare && v.Damages == 0 && v.First <= *through+1 {
			*through = max(*through, v.Last)
		}
	}
}

// appendVerified is of a snapshot.
func (s *State) appendVerified() (b []byte) {
	if s.Verified == ([levels]Verified{}) {
		return nil
	}
	for i := range s.Verified {
		v := &s.Verified[i]
		b = wire.AppendUvarint(b, v.Through)
		if b = wire.AppendUvarint(b, v.Entry); v.Entry > 0 {
			b = append(appendMillis(b, v.Time), v.append()...)
		}
	}
	return b
}

func (s *State) parseVerified(r *wire.Reader) {
	for i := range s.Verified {
		v := &s.Verified[i]
		v.Through = r.Max("entry", s.Sequence)
		if v.Entry = r.Max("entry", s.Sequence); v.Entry > 0 {
			v.Time, v.Verification = parseMillis(r), *parseVerification(r)
			if int(v.Level) != i {
				r.Failf("a verification of level %d in the place of level %d", v.Level, i)
			}
		}
	}
	if s.Verified == ([levels]Verified{}) {
		r.Failf("no verifications")
	}
}

// Record appends what a verification has found, in an entry that fences no other
// writer, and returns it.
func (l *Log) Record(ctx context.Context, v Verification, agent Agent) (*Entry, error) {
	if len(v.Text) > maxVerificationText {
		v.Text = strings.ToValidUTF8(v.Text[:maxVerificationText], "")
	}
	return l.Append(ctx, func(*State) (*Entry, error) {
		return &Entry{Time: l.now().UnixMilli(), Agent: &agent, Verification: &v}, nil
	})
}

// words says what was verified, and what was found.
func (v *Verification) words() string {
	share := ""
	if v.Share < WholeShare {
		share = fmt.Sprintf(" %g %% (seed %d) of", float64(v.Share)/(WholeShare/100), v.Seed)
	}
	text := fmt.Sprintf("%s:%s the segments of entries %d to %d: %d read", v.Level, share, v.First, v.Last, v.Segments)
	if v.Damages == 0 {
		return text + ", all sound"
	}
	objects := "objects"
	if v.Damages == 1 {
		objects = "object"
	}
	return fmt.Sprintf("%s, %d %s DAMAGED: %s", text, v.Damages, objects, Quoted(v.Text))
}
