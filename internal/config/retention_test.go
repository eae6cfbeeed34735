package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/config"
)

func TestSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 720 * time.Hour, "36h": 36 * time.Hour, "1d12h": 36 * time.Hour, "0s": 0, "90s": 90 * time.Second, "0d": 0, "1d1ns": 24*time.Hour + 1, "2w": 336 * time.Hour, "1w1d": 192 * time.Hour,
	} {
		var s config.Span
		if err := s.UnmarshalText([]byte(text)); err != nil || time.Duration(s) != want {
			t.Errorf("%s: %s, %v", text, time.Duration(s), err)
		}
		var again config.Span
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%s is written as %s: %v", text, s, err)
		}
	}
	for _, text := range []string{"", "30", "d", "-1h", "1d-1h", "30 days", "1h1d", "999999d"} {
		var s config.Span
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %s", text, s)
		}
	}
}

func TestRetentionMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"retention: {window: 7}":                                  `retention.window: "7" is not a duration`,
		"retention: {keep: {daily: -1}}":                          "retention.keep.daily: cannot be negative",
		"retention: {keep: {dayly: 1}}":                           `did you mean "daily"?`,
		"retention: {minPoints: 0}":                               "retention.minPoints: must be at least 1",
		"retention: {maxRemovedShare: 2}":                         `"2" is not a number between 0 and 1`,
		"retention: {maxRemovedShare: NaN}":                       `"NaN" is not a number between 0 and 1`,
		"retention: {timezone: Mars}":                             "retention.timezone: unknown time zone Mars",
		"retention: {timezone: Local}":                            "retention.timezone: ",
		"retention: {every: 1ms}":                                 "retention.every: must be at least 1s",
		"retention: {topics: [{window: 7d}]}":                     "retention.topics[0]: include is missing",
		"retention: {topics: [{include: [\"a b\"]}]}":             "cannot be the name of a topic",
		"retention: {topics: [{include: [a], keep: {last: -2}}]}": "retention.topics[0].keep.last: cannot be negative",
	} {
		file := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to say %q", text, err, want)
		}
	}
}
