package cli

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	for ms, want := range map[int64]string{
		1_700_000_000_123:     `"2023-11-14T22:13:20.123Z"`,
		1_700_000_000_000_000: `"55840-11-08T22:13:20Z"`, // these are microseconds
		0:                     `"1970-01-01T00:00:00Z"`,
		math.MaxInt64:         `"292278994-08-17T07:12:55.807Z"`,
		math.MinInt64:         `"-292275055-05-16T16:47:04.192Z"`,
	} {
		got, err := json.Marshal(MomentAt(ms))
		if err != nil || string(got) != want {
			t.Errorf("%d: %s, %v, want %s", ms, got, err, want)
		}
		if usual, err := json.Marshal(time.UnixMilli(ms).UTC()); err == nil && string(usual) != want {
			t.Errorf("%d: %s otherwise", ms, usual)
		}
	}
}
