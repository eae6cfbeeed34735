package cli

import (
	"encoding/json"
	"time"
)

// Moment is a time that may lie beyond the years that a time.Time has in JSON: producers
// date records as they like, such as in microseconds, and so does whoever may append to the log.
type Moment struct{ time.Time }

// MomentAt returns the moment of milliseconds since 1970.
func MomentAt(ms int64) Moment { return Moment{time.UnixMilli(ms).UTC()} }

// MarshalJSON writes it as RFC 3339, with as many digits of the year as it takes.
func (m Moment) MarshalJSON() ([]byte, error) {
	return json.Marshal(m.Format(time.RFC3339Nano))
}
