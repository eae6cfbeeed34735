package manifest

import (
	"encoding/binary"
	"math"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// The sections of a snapshot's body that no log entry has.
const (
	secPositions     = 64
	secAllPoints     = 65
	secTotals        = 66
	secLives         = 67
	secMetadataTimes = 68
	secGaps          = 69
	secSegmentSet    = 70
	secPending       = 71
	secFenced        = 72
	secGenerations   = 73
	secVerified      = 74
	secLost          = 75
	secMoved         = 76
	secGrowths       = 77
	secKnown         = 78
	secStretches     = 79
	secCircumstances = 80
)

func appendMillis(b []byte, ms int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(ms)) }

func parseMillis(r *wire.Reader) int64 {
	if t := r.Bytes(8); t != nil {
		return int64(binary.BigEndian.Uint64(t))
	}
	return 0
}

func (s *State) appendPositions() (b []byte) {
	for i := range s.Streams {
		st := &s.Streams[i]
		b = wire.AppendUvarint(b, uint64(st.Next-st.First))
		b = wire.AppendVarint(b, st.LogStart-st.First)
		b = wire.AppendVarint(b, int64(st.LeaderEpoch))
		b = wire.AppendVarint(b, st.Next-st.First-st.Records)
		b = wire.AppendUvarint(b, uint64(st.Newest))
	}
	return b
}

func (s *State) parsePositions(r *wire.Reader) {
	for i := range s.Streams {
		st := &s.Streams[i]
		st.Next = st.First + int64(r.Max("position", uint64(maxOffset-st.First)))
		st.LogStart = st.First + r.Varint()
		epoch := r.Varint()
		st.LeaderEpoch = int32(epoch)
		st.Records = st.Next - st.First - r.Varint()
		st.Newest = int64(r.Max("timestamp", math.MaxInt64))
		if int64(st.LeaderEpoch) != epoch || st.LogStart < 0 || st.Records < 0 {
			r.Failf("epoch %d, log start %d, %d records", epoch, st.LogStart, st.Records)
		}
	}
}

func (s *State) appendAllPoints() (b []byte) {
	if len(s.Points) == 0 {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(len(s.Points)))
	before := PointRef{}
	for _, p := range s.Points {
		b = wire.AppendUvarint(b, p.Sequence-before.Sequence)
		b = wire.AppendVarint(b, p.Time-before.Time)
		c := PointChange{Pinned: p.Pinned, Held: p.Held}
		b = append(b, c.flags())
		b = wire.AppendString(b, p.Name)
		before = p
	}
	return b
}

func (s *State) parseAllPoints(r *wire.Reader) {
	s.Points = make([]PointRef, count(r, "points", 4))
	before := PointRef{}
	for i := range s.Points {
		p := &s.Points[i]
		step := r.Uvarint()
		p.Sequence = before.Sequence + step
		p.Time = before.Time + r.Varint()
		flags := r.Byte()
		p.Pinned, p.Held = flags&flagPinned != 0, flags&flagHeld != 0
		p.Name = r.String("point name", maxName)
		if step == 0 || p.Sequence < step || p.Sequence > s.Sequence || flags&^(flagPinned|flagHeld) != 0 {
			r.Failf("point %d after %d with flags %#x", p.Sequence, before.Sequence, flags)
		}
		before = *p
	}
}

func (s *State) appendTotals() []byte {
	b := wire.AppendUvarint(nil, uint64(s.SegmentCount))
	b = wire.AppendUvarint(b, uint64(s.SegmentBytes))
	b = wire.AppendUvarint(b, uint64(s.RemovedBytes))
	b = wire.AppendUvarint(b, s.Moved)
	b = appendMillis(b, s.Newest)
	b = wire.AppendUvarint(b, s.LastRemoval)
	return append(b, s.Capturer[:]...)
}

func (s *State) parseTotals(r *wire.Reader) {
	s.SegmentCount = int64(r.Max("segments", math.MaxInt64))
	s.SegmentBytes = int64(r.Max("segment bytes", math.MaxInt64))
	s.RemovedBytes = int64(r.Max("removed bytes", math.MaxInt64))
	s.Moved = r.Max("entry", s.Sequence)
	s.Newest = parseMillis(r)
	s.LastRemoval = r.Max("entry", s.Sequence)
	copy(s.Capturer[:], r.Bytes(len(s.Capturer)))
}

func (m Moment) append(b []byte) []byte { return appendMillis(wire.AppendUvarint(b, m.Entry), m.Time) }

func (s *State) parseMoment(r *wire.Reader) Moment {
	return Moment{r.Max("entry", s.Sequence), parseMillis(r)}
}

func (s *State) appendLives() (b []byte) {
	for _, l := range s.Lives {
		b = l.Gone.append(l.Since.append(b))
	}
	return b
}

func (s *State) parseLives(r *wire.Reader) {
	s.Lives = make([]Life, len(s.Topics))
	for i := range s.Lives {
		s.Lives[i] = Life{s.parseMoment(r), s.parseMoment(r)}
	}
}

func (s *State) appendMetadataTimes(kinds []MetadataChange) (b []byte) {
	for _, k := range kinds {
		m := s.Metadata[k.Kind]
		b = Moment{m.Sequence, m.Time}.append(b)
	}
	return b
}

func (s *State) parseMetadataTimes(r *wire.Reader, kinds []MetadataChange) {
	for _, k := range kinds {
		at := s.parseMoment(r)
		s.Metadata[k.Kind] = Metadata{k.Content, at.Entry, at.Time}
	}
}

// gapOpen marks a gap that no record has followed.
const gapOpen = 2

func (s *State) appendGaps() (b []byte) {
	if len(s.Gaps) == 0 {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(len(s.Gaps)))
	before := uint64(0)
	for i := range s.Gaps {
		g := &s.Gaps[i]
		flags := byte(g.Reason)
		if last, open := s.open[g.Stream]; open && last == i {
			flags |= gapOpen
		}
		b = wire.AppendUvarint(b, g.Entry-before)
		b = appendMillis(b, g.Time)
		b = wire.AppendUvarint(b, uint64(g.Stream))
		b = wire.AppendUvarint(b, uint64(g.From))
		b = wire.AppendUvarint(b, uint64(g.To-g.From))
		b = append(b, flags)
		b = wire.AppendVarint(b, g.OldestLost)
		b = wire.AppendVarint(b, g.NewestLost)
		before = g.Entry
	}
	return b
}

func (s *State) parseGaps(r *wire.Reader) {
	s.Gaps = make([]Gap, count(r, "gaps", 15))
	before := uint64(0)
	for i := range s.Gaps {
		g := &s.Gaps[i]
		g.Entry = before + r.Max("entry", s.Sequence-before)
		g.Time = parseMillis(r)
		g.Stream = int(r.Max("stream", maxNumber))
		g.From = int64(r.Max("offset", maxOffset))
		g.To = g.From + int64(r.Max("offsets", uint64(maxOffset-g.From)))
		flags := r.Byte()
		g.Reason = GapReason(flags &^ gapOpen)
		g.OldestLost, g.NewestLost = r.Varint(), r.Varint()
		if g.Stream >= len(s.Streams) || g.Reason > GapEmpty || g.From == g.To {
			r.Failf("a gap of stream %d with flags %#x", g.Stream, flags)
			return
		}
		if before = g.Entry; flags&gapOpen != 0 {
			s.open[g.Stream] = i
		}
	}
}

func (s *State) appendGenerations() []byte {
	if len(s.Generations) == 0 {
		return nil
	}
	return appendGenerations(wire.AppendUvarint(nil, s.KeysEntry), s.Generations)
}

func (s *State) parseGenerations(r *wire.Reader) {
	s.KeysEntry = r.Max("entry", s.Sequence)
	s.Generations = parseGenerations(r)
}
