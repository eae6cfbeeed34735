package config

import (
	"fmt"
	"strconv"
	"time"
	_ "time/tzdata" // images have no time zones of their own

	"github.com/offsite-kafka/offsite/internal/pattern"
)

// Retention says which recovery points the repository keeps, and when what only
// the others needed is deleted.
type Retention struct {
	Window          Span             `yaml:"window"`
	Keep            Keep             `yaml:"keep"`
	MinPoints       int              `yaml:"minPoints"`
	Topics          []TopicRetention `yaml:"topics"`
	Timezone        string           `yaml:"timezone"`
	LegalHold       bool             `yaml:"legalHold"`
	Grace           Span             `yaml:"grace"`
	MaxRemovedShare Share            `yaml:"maxRemovedShare"`
	Every           Span             `yaml:"every"`
}

// Keep says how many points are kept beside the window: the newest ones, and the
// newest one of each of so many hours, days and so on.
type Keep struct {
	Last    int `yaml:"last"`
	Hourly  int `yaml:"hourly"`
	Daily   int `yaml:"daily"`
	Weekly  int `yaml:"weekly"`
	Monthly int `yaml:"monthly"`
	Yearly  int `yaml:"yearly"`
}

// Drops says whether there is a rule, so that points are dropped that none keeps.
func (r *Retention) Drops() bool {
	return r.Window > 0 || r.Keep != (Keep{}) || len(r.Topics) > 0
}

// TopicRetention is what counts for some topics instead.
type TopicRetention struct {
	Include []string `yaml:"include"`
	Exclude []string `yaml:"exclude"`
	Window  Span     `yaml:"window"`
	Keep    Keep     `yaml:"keep"`
}

// Share is a part of a whole, from 0 to 1.
type Share float64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Share) UnmarshalText(text []byte) error {
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(v >= 0 && v <= 1) {
		return fmt.Errorf("%q is not a number between 0 and 1, such as 0.5", text)
	}
	*s = Share(v)
	return nil
}

// Location returns the time zone whose hours, days and so on count.
func (r *Retention) Location() (*time.Location, error) {
	if r.Timezone == "Local" || r.Timezone == "" {
		return nil, fmt.Errorf("%q is no time zone, such as UTC or Europe/Berlin", r.Timezone)
	}
	return time.LoadLocation(r.Timezone)
}

// Patterns returns the topics that it is for.
func (t *TopicRetention) Patterns() (pattern.List, error) {
	texts := append([]string{}, t.Include...)
	for _, x := range t.Exclude {
		texts = append(texts, "!"+x)
	}
	list, err := pattern.Parse(texts)
	if err != nil {
		return list, err
	}
	return list, checkNames(list)
}

func (r *Retention) check(bad func(key, format string, args ...any)) {
	if _, err := r.Location(); err != nil {
		bad("retention.timezone", "%v", err)
	}
	if r.MinPoints < 1 {
		bad("retention.minPoints", "must be at least 1")
	}
	if r.Every != 0 && time.Duration(r.Every) < time.Second {
		bad("retention.every", "must be at least 1s")
	}
	r.Keep.check("retention.keep", bad)
	for i := range r.Topics {
		t, key := &r.Topics[i], fmt.Sprintf("retention.topics[%d]", i)
		if len(t.Include) == 0 {
			bad(key, "include is missing: which topics is it for?")
		}
		if _, err := t.Patterns(); err != nil {
			bad(key, "%v", err)
		}
		t.Keep.check(key+".keep", bad)
	}
}

func (k *Keep) check(key string, bad func(key, format string, args ...any)) {
	for _, rule := range []struct {
		name string
		n    int
	}{{"last", k.Last}, {"hourly", k.Hourly}, {"daily", k.Daily}, {"weekly", k.Weekly}, {"monthly", k.Monthly}, {"yearly", k.Yearly}} {
		if rule.n < 0 {
			bad(key+"."+rule.name, "cannot be negative")
		}
	}
}
