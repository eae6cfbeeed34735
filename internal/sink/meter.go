package sink

import (
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Meter is told what a capture does. The capture waits for each call.
type Meter interface {
	// State has what the log says, whenever that is read or appended to. It may be
	// read until the call returns.
	State(*manifest.State)
	// Committed: an entry was appended, or could not be.
	Committed(took time.Duration, err error)
	// Covered: everything that was acknowledged before the time is in the newest
	// recovery point.
	Covered(time.Time)
	// Stored: the entry that was just committed has a segment with so much of a topic.
	Stored(topic string, raw, stored int64)
	// Behind: so many records of each topic are below the high watermarks and in no
	// entry, at most: compaction and markers of transactions leave offsets without any.
	// Everything that was acknowledged of a topic before a time is in one; of topics
	// that are not there no such time is known.
	Behind(records map[string]int64, committed map[string]time.Time)
	// Interrupted: the capture has failed, and begins again from the log.
	Interrupted()
}

// meter returns that of the capture, or one that ignores what it is told.
func (s *Sink) meter() Meter {
	if s.Meter == nil {
		return noMeter{}
	}
	return s.Meter
}

type noMeter struct{}

func (noMeter) State(*manifest.State)                         {}
func (noMeter) Committed(time.Duration, error)                {}
func (noMeter) Covered(time.Time)                             {}
func (noMeter) Stored(string, int64, int64)                   {}
func (noMeter) Behind(map[string]int64, map[string]time.Time) {}
func (noMeter) Interrupted()                                  {}

// volume is how much of a topic a segment has.
type volume struct {
	raw, stored int64
}

// tell tells the meter what an attempt to commit has come to. e is nil if there was
// nothing to say, as nothing had changed.
func (c *committer) tell(s sealedSegment, e *manifest.Entry, took time.Duration, err error) {
	meter := c.ses.meter()
	if e != nil || err != nil {
		meter.Committed(took, err)
	}
	if err != nil {
		return
	}
	state := c.ses.log.State()
	meter.State(state)
	for stream := range s.covered.streams {
		if n, ok := state.Current(stream.key); ok {
			c.ses.table.committed(stream, state.Streams[n].Next)
		}
	}
	meter.Behind(c.ses.table.lag())
	if s.covered.cut != nil {
		meter.Covered(s.covered.cut.time)
	}
	if s.upload != nil {
		for topic, v := range s.upload.volumes {
			meter.Stored(topic, v.raw, v.stored)
		}
	}
}
