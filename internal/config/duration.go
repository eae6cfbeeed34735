package config

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Duration is a time span, written with units: 10s, 1h30m, 2d.
type Duration time.Duration

var long = regexp.MustCompile(`\A(?:(\d{1,5})w)?(?:(\d{1,5})d)?(.*)\z`)

// ParseDuration reads a time span as everywhere in the configuration: as
// time.ParseDuration does, with weeks and days in front. A day has 24 hours.
func ParseDuration(text string) (time.Duration, error) {
	m := long.FindStringSubmatch(text)
	if m == nil || text == "" {
		return 0, fmt.Errorf("%q is not a duration with a unit, such as 10s, 36h or 7d", text)
	}
	weeks, _ := strconv.Atoi(m[1]) // digits, or nothing
	days, _ := strconv.Atoi(m[2])
	d := time.Duration(7*weeks+days) * 24 * time.Hour
	if m[3] == "" {
		return d, nil
	}
	rest, err := time.ParseDuration(m[3])
	if err != nil || rest < 0 && d > 0 {
		return 0, fmt.Errorf("%q is not a duration with a unit, such as 10s, 36h or 7d", text)
	}
	return d + rest, nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err == nil {
		*d = Duration(v)
	}
	return err
}

// Span is a long time span, which is written in days where it has some: 30d, 1d12h.
type Span time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Span) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err == nil && v < 0 {
		err = fmt.Errorf("%q is negative", text)
	}
	if err == nil {
		*s = Span(v)
	}
	return err
}

// String writes a span as it is read.
func (s Span) String() string {
	const day = 24 * time.Hour
	d := time.Duration(s)
	switch {
	case d >= day && d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	case d >= day:
		return fmt.Sprintf("%dd%s", d/day, d%day)
	}
	return d.String()
}
