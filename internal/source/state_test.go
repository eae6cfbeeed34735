package source

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

func TestStateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := topicState{
			point:    rapid.Uint64().Draw(t, "point"),
			source:   kafka.TopicID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "source")),
			target:   kafka.TopicID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "target")),
			producer: producerID{rapid.Int64().Draw(t, "producer"), rapid.Int16().Draw(t, "epoch")},
			buildTo:  rapid.IntRange(0, math.MaxInt32).Draw(t, "build to"),
			fit:      rapid.IntRange(0, math.MaxInt32).Draw(t, "fit"),
			phase:    rapid.SampledFrom(phases).Draw(t, "phase"),
			bounds:   rapid.SampledFrom([]string{"", "until=-5", "until=7;offsets=0123456789abcdef"}).Draw(t, "bounds"),
			accepted: rapid.SampledFrom([]string{"", "0:10-20", "0:10-20,7:1-9223372036854775807,+12"}).Draw(t, "accepted"),
			starts:   map[int32]int64{},
		}
		got, err := parseState(want.metadata())
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		if n := len(want.metadata()); n > 4096 {
			t.Fatalf("%d bytes are more than brokers take (offset.metadata.max.bytes)", n)
		}
	})
}

func TestParseStateRefuses(t *testing.T) {
	good := (&topicState{phase: phaseRunning}).metadata()
	for name, text := range map[string]string{
		"empty":             "",
		"somebody's":        "checkpoint 5",
		"another engine":    strings.Replace(good, "engine=1", "engine=2", 1),
		"no phase":          good[:strings.Index(good, " phase=")],
		"an unknown phase":  strings.Replace(good, "phase=running", "phase=walking", 1),
		"a bad topic id":    strings.Replace(good, "source=AAAA", "source=A*AA", 1),
		"a short topic id":  strings.Replace(good, "target=AAAA", "target=", 1),
		"a bad number":      strings.Replace(good, "point=0", "point=x", 1),
		"a negative point":  strings.Replace(good, "point=0", "point=-1", 1),
		"empty bounds":      strings.Replace(good, " phase=", " bounds= phase=", 1),
		"two bounds":        strings.Replace(good, " phase=", " bounds=a bounds=b phase=", 1),
		"no size":           strings.Replace(good, " phase=", " fit= phase=", 1),
		"a size of nothing": strings.Replace(good, " phase=", " fit=0 phase=", 1),
		"a bad size":        strings.Replace(good, " phase=", " fit=1x phase=", 1),
		"size behind":       strings.Replace(good, " phase=", " bounds=b fit=1 phase=", 1),
		"empty acceptance":  strings.Replace(good, " phase=", " accepted= phase=", 1),
		"bounds behind":     strings.Replace(good, " phase=", " accepted=a bounds=b phase=", 1),
		"bounds elsewhere":  strings.Replace(good, " build=", " bounds=a build=", 1),
		"words behind":      good + " and more",
		"words in front of": "x" + good,
	} {
		if s, err := parseState(text); !errors.Is(err, errForeignState) {
			t.Errorf("%s: %q is taken for %+v, %v", name, text, s, err)
		}
	}
	if _, err := parseState(good); err != nil {
		t.Error(err)
	}
}

func TestUnfinished(t *testing.T) {
	s := &restoreState{topics: map[string]*topicState{
		"a": {point: 3, phase: phaseRunning}, "b": {point: 3, phase: phaseRunning},
		"c": {point: 5, phase: phaseFilled}, "d": {point: 9, phase: phaseDone},
	}}
	for _, tc := range []struct {
		targets []string
		want    uint64
		ok      bool
	}{
		{nil, 0, true}, {[]string{"x"}, 0, true}, {[]string{"a", "b"}, 3, true}, {[]string{"c", "d", "x"}, 5, true}, {[]string{"d"}, 0, true},
		{[]string{"a", "c"}, 0, false},
	} {
		got, err := s.unfinished(tc.targets)
		if got != tc.want || (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%v: point %d, %v, want %d", tc.targets, got, err, tc.want)
		}
	}
}

func TestBuildTo(t *testing.T) {
	for tracks, want := range map[int]int{0: 256 << 10, 1: 256 << 10, 192: 256 << 10, 193: 48 << 20 / 193, 3072: 16 << 10, 100_000: 16 << 10} {
		if got := buildToFor(tracks); got != want {
			t.Errorf("%d tracks: %d, want %d", tracks, got, want)
		}
	}
}

// Sequence numbers go on after the largest with 0, as Kafka has it.
func TestSequence(t *testing.T) {
	for rel, want := range map[int64]int32{0: 0, math.MaxInt32: math.MaxInt32, math.MaxInt32 + 1: 0, 3 << 31: 0, 5<<31 + 7: 7} {
		if got := sequence(rel); got != want {
			t.Errorf("record %d has sequence %d, want %d", rel, got, want)
		}
	}
}

func TestStateGroup(t *testing.T) {
	if got := StateGroup(manifest.ID{0xab, 0xcd}); got != "offsite-restore-abcd000000000000" {
		t.Errorf("got %s", got)
	}
}
