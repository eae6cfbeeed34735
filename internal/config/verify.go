package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Verify says how often backupd run verifies the repository, and how deeply.
type Verify struct {
	Every  Duration `yaml:"every"` // 0: never
	Level  string   `yaml:"level"` // index, digest, decode
	Sample Sample   `yaml:"sample"`
}

func (v *Verify) check(bad func(key, format string, args ...any)) {
	if d := time.Duration(v.Every); d != 0 && (d < time.Minute || d > 365*24*time.Hour) {
		bad("verify.every", "must be between 1m and 8760h, or 0s for never")
	}
	switch v.Level {
	case "index", "digest", "decode":
	case "replay":
		bad("verify.level", "replay takes a cluster: \"restored verify --level replay\" does that")
	default:
		bad("verify.level", "%q is none of index, digest, decode", v.Level)
	}
}

// Sample is a part of something in millionths, written in percent: 5%.
type Sample int64

// WholeSample is everything.
const WholeSample Sample = 1_000_000

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Sample) UnmarshalText(text []byte) error {
	number, ok := strings.CutSuffix(string(text), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(v >= 0.0001 && v <= 100) {
		return fmt.Errorf("%q is not a share between 0.0001%% and 100%%, such as 5%%", text)
	}
	*s = Sample(v*float64(WholeSample)/100 + 0.5)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (s Sample) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Sample) String() string {
	return strconv.FormatFloat(float64(s)/float64(WholeSample)*100, 'f', -1, 64) + "%"
}
