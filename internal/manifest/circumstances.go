package manifest

import (
	"math"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// Circumstances are those of a removal: how much it was, and of what, so that one can
// tell later whether it was too much.
type Circumstances struct {
	Replaced bool  // the entry has moved data, and removed what nothing is left of; nothing else is said then
	Count    int64 // segments that it removed, deleted ones too
	Bytes    int64 // as it says
	Newest   int64 // ms since 1970: the latest time of the log until then
	Stored   int64 // bytes that could be read before
	Agent    *Agent
}

// circumstances are those of what an entry removes, before it is applied.
func (s *State) circumstances(e *Entry) Circumstances {
	if e.Moves != nil {
		return Circumstances{Replaced: true}
	}
	c := Circumstances{Count: e.Removed.Segments.Count(), Bytes: e.Removed.Bytes, Newest: max(s.Newest, e.Time), Stored: s.SegmentBytes, Agent: e.Agent}
	if c.Agent == nil && e.Writer == s.Capturer {
		c.Agent = s.Agent
	}
	return c
}

const (
	flagReplaced = 1
	flagAgent    = 2
)

func (s *State) appendCircumstances() (b []byte) {
	if s.stretches.unknown {
		return nil
	}
	for i := range s.Removals {
		c := &s.Removals[i].Circumstances
		switch {
		case c.Replaced:
			b = append(b, flagReplaced)
			continue
		case c.Agent != nil:
			b = append(b, flagAgent)
		default:
			b = append(b, 0)
		}
		b = wire.AppendUvarint(b, uint64(c.Count))
		b = wire.AppendUvarint(b, uint64(c.Bytes))
		b = appendMillis(b, c.Newest)
		b = wire.AppendUvarint(b, uint64(c.Stored))
		b = append(b, c.Agent.append()...)
	}
	return b
}

func (s *State) parseCircumstances(r *wire.Reader) {
	for i := range s.Removals {
		c := &s.Removals[i].Circumstances
		flags := r.Byte()
		if flags > flagAgent {
			r.Failf("flags %#x", flags)
		}
		if c.Replaced = flags == flagReplaced; c.Replaced {
			continue
		}
		c.Count = int64(r.Max("segments", math.MaxInt64))
		c.Bytes = int64(r.Max("bytes", math.MaxInt64))
		c.Newest = parseMillis(r)
		c.Stored = int64(r.Max("bytes", math.MaxInt64))
		if flags&flagAgent != 0 {
			c.Agent = parseAgent(r)
		}
	}
}
