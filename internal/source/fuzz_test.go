package source

import (
	"testing"
	"time"
)

// FuzzParseTime: a time is the same when it is written in full.
func FuzzParseTime(f *testing.F) {
	for _, text := range []string{"2026-11-20T14:30:00Z", "2026-11-20T14:30:00.123456789+05:30", "2026-11-20 14:30", "2026-11-20", "1763649000000", "-2h", "-1h30m5s", "-9223372036854775808ns"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := ParseTime(text, firstTime)
		if err != nil || at.UTC().Year() < 0 || at.UTC().Year() > 9999 {
			return
		}
		full := at.UTC().Format(time.RFC3339Nano)
		if again, err := ParseTime(full, firstTime); err != nil || !again.Equal(at) {
			t.Errorf("%q is %s, which is %s: %v", text, full, again, err)
		}
	})
}

// FuzzParseVector: a file of offsets has places, or is refused.
func FuzzParseVector(f *testing.F) {
	f.Add([]byte("topic,partition,offset\norders,0,5\n"))
	f.Add([]byte(`{"orders":{"0":5}}`))
	f.Add([]byte("orders 0 5\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := ParseVector(text)
		if (len(v) == 0) == (err == nil) {
			t.Errorf("got %v, %v", v, err)
		}
	})
}

// FuzzParseState: what a restore keeps on the target may have been changed by anybody.
func FuzzParseState(f *testing.F) {
	f.Add("offsite engine=1 point=12 source=AAAAAAAAAAAAAAAAAAAAAQ target=AAAAAAAAAAAAAAAAAAAAAg producer=5/0 build=0 append=false phase=records accepted=0:100-250")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseState(text)
		if (s == nil) == (err == nil) {
			t.Errorf("got %v, %v", s, err)
		}
	})
}

// FuzzSelection: patterns and NAME@N, as --topics and restore.topics have them.
func FuzzSelection(f *testing.F) {
	f.Add("orders@1", "!a*")
	f.Add("/x/", "@0")
	f.Fuzz(func(_ *testing.T, a, b string) {
		if s, err := parseSelection([]string{a, b}); err == nil {
			s.has(Incarnation{})
		}
	})
}
