package manifest

import (
	"errors"
	"math"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// secClosing is a section that readers may skip.
const secClosing = 128

// Closing says what it took to find out which transactions belong to a point.
type Closing struct {
	Millis   int64 // how long it took
	Marks    int64 // how often coordinators and high watermarks were read
	Unproven int64 // producers of which a transaction may be split
}

func (e *Entry) appendClosing() (b []byte) {
	if e.Closing == nil {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(e.Closing.Millis))
	b = wire.AppendUvarint(b, uint64(e.Closing.Marks))
	return wire.AppendUvarint(b, uint64(e.Closing.Unproven))
}

func (e *Entry) parseClosing(r *wire.Reader) {
	e.Closing = &Closing{
		Millis: int64(r.Max("milliseconds", math.MaxInt64)), Marks: int64(r.Max("marks", math.MaxInt64)), Unproven: int64(r.Max("producers", math.MaxInt64)),
	}
	if e.Closing.Marks == 0 {
		r.Failf("transactions closed without a mark")
	}
}

func (e *Entry) checkClosing() error {
	if e.Closing != nil && e.Point == nil {
		return errors.New("transactions closed without a point")
	}
	return nil
}
