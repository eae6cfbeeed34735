package cli

import (
	"time"

	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/spf13/pflag"
)

// duration is a flag that is written as durations are in the configuration.
type duration time.Duration

// DurationFlag adds a flag with the value of d as its default.
func DurationFlag(f *pflag.FlagSet, d *time.Duration, name, usage string) {
	f.Var((*duration)(d), name, usage)
}

// String implements pflag.Value.
func (d *duration) String() string { return time.Duration(*d).String() }

// Type implements pflag.Value.
func (d *duration) Type() string { return "duration" }

// Set implements pflag.Value.
func (d *duration) Set(text string) error {
	v, err := config.ParseDuration(text)
	if err == nil {
		*d = duration(v)
	}
	return err
}
