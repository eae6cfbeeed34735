// Package config reads the configuration files of backupd and restored.
// Unknown keys and wrong values are errors that name line, key and remedy, all
// of them at once.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/dustin/go-humanize"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"go.yaml.in/yaml/v4"
)

// ErrInvalid is wrapped by every error about a configuration.
var ErrInvalid = errors.New("invalid configuration")

// Config is the file, and what flags put in its place.
type Config struct {
	Version int     `yaml:"version"`
	Kafka   Kafka   `yaml:"kafka"`
	Store   Store   `yaml:"store"`
	Select  Select  `yaml:"select"`
	Segment Segment `yaml:"segment"`
	Points  Points  `yaml:"points"`
	Log     Log     `yaml:"log"`
}

// Kafka says how to reach the cluster.
type Kafka struct {
	BootstrapServers []string `yaml:"bootstrapServers"`
	ClientID         string   `yaml:"clientId"`
	TLS              *TLS     `yaml:"tls"`
	SASL             *SASL    `yaml:"sasl"`
}

// TLS turns TLS on. The files are PEM.
type TLS struct {
	CAFile     string `yaml:"caFile"`
	CertFile   string `yaml:"certFile"`
	KeyFile    string `yaml:"keyFile"`
	ServerName string `yaml:"serverName"`
}

// SASL is how to log in. The password comes from a file or the environment
// variable KAFKA_SASL_PASSWORD, never from the configuration itself.
type SASL struct {
	Mechanism    string `yaml:"mechanism"`
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"passwordFile"`
}

// PasswordVariable is the environment variable that holds the SASL password
// when no file does.
const PasswordVariable = "KAFKA_SASL_PASSWORD"

// Store is where the repository is.
type Store struct {
	URL string `yaml:"url"`
}

// Select is what is captured.
type Select struct {
	Topics Patterns `yaml:"topics"`
}

// Patterns are literals, globs or /regular expressions/ (see package pattern).
type Patterns struct {
	Include []string `yaml:"include"`
	Exclude []string `yaml:"exclude"`
}

// Segment bounds data objects.
type Segment struct {
	MaxBytes Size     `yaml:"maxBytes"`
	MaxAge   Duration `yaml:"maxAge"`
}

// Points says how often recovery points are made.
type Points struct {
	Every Duration `yaml:"every"`
}

// Log is how the program reports.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // auto, text, json
}

// Default returns the configuration without a file.
func Default() *Config {
	return &Config{
		Version: 1,
		Select:  Select{Topics: Patterns{Include: []string{"*"}, Exclude: []string{"__*"}}},
		Segment: Segment{MaxBytes: 64 << 20, MaxAge: Duration(10 * time.Second)},
		Points:  Points{Every: Duration(10 * time.Second)},
		Log:     Log{Level: "info", Format: "auto"},
	}
}

// Size is a number of bytes, written with a unit: 64MiB.
type Size int64

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *Size) UnmarshalYAML(n *yaml.Node) error {
	v, err := humanize.ParseBytes(n.Value)
	if err != nil || !strings.ContainsAny(strings.ToUpper(n.Value), "B") || v > 1<<40 {
		return fmt.Errorf("%q is not a size with a unit, such as 64MiB", n.Value)
	}
	*s = Size(v)
	return nil
}

// Duration is a time span, written with a unit: 10s.
type Duration time.Duration

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if err != nil {
		return fmt.Errorf("%q is not a duration with a unit, such as 10s", n.Value)
	}
	*d = Duration(v)
	return nil
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\}`)

// Load reads a file over the defaults. ${NAME} and ${NAME:-default} are
// replaced by environment variables.
func Load(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	b, err = expand(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, path, err)
	}
	c := Default()
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, path, suggest(err))
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s: more than one YAML document", ErrInvalid, path)
	}
	c.resolve(filepath.Dir(path))
	return c, nil
}

// expand replaces variables; an unset one without default is an error.
func expand(b []byte) ([]byte, error) {
	var errs []error
	out := variable.ReplaceAllFunc(b, func(m []byte) []byte {
		sub := variable.FindSubmatch(m)
		if v, ok := os.LookupEnv(string(sub[1])); ok {
			return []byte(v)
		}
		if sub[2] != nil {
			return sub[2][2:]
		}
		errs = append(errs, fmt.Errorf("environment variable %s is not set (a default can be given: ${%s:-…})", sub[1], sub[1]))
		return m
	})
	return out, errors.Join(errs...)
}

// resolve makes relative file names relative to the file that names them.
func (c *Config) resolve(dir string) {
	for _, p := range c.files() {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

func (c *Config) files() []*string {
	var list []*string
	if t := c.Kafka.TLS; t != nil {
		list = append(list, &t.CAFile, &t.CertFile, &t.KeyFile)
	}
	if s := c.Kafka.SASL; s != nil {
		list = append(list, &s.PasswordFile)
	}
	return list
}

var unknownField = regexp.MustCompile(`field ([^ ]+) not found in type config\.(\w+)`)

// suggest adds the key that was probably meant to unknown ones.
func suggest(err error) error {
	text := unknownField.ReplaceAllStringFunc(err.Error(), func(m string) string {
		sub := unknownField.FindStringSubmatch(m)
		best, distance := "", 4
		for _, k := range keysOf(sub[2]) {
			if d := levenshtein.ComputeDistance(strings.ToLower(sub[1]), strings.ToLower(k)); d < distance {
				best, distance = k, d
			}
		}
		if best == "" {
			return fmt.Sprintf("unknown key %q; known here are %s", sub[1], strings.Join(keysOf(sub[2]), ", "))
		}
		return fmt.Sprintf("unknown key %q; did you mean %q?", sub[1], best)
	})
	return errors.New(strings.TrimPrefix(text, "yaml: construct errors: "))
}

// Validate checks what needs no cluster and no store.
func (c *Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s: %s", ErrInvalid, key, fmt.Sprintf(format, args...)))
	}
	if c.Version != 1 {
		bad("version", "is %d, this program knows 1", c.Version)
	}
	if c.Segment.MaxBytes < 1<<20 || c.Segment.MaxBytes > 4<<30 {
		bad("segment.maxBytes", "must be between 1MiB and 4GiB")
	}
	if d := time.Duration(c.Segment.MaxAge); d < time.Second || d > time.Hour {
		bad("segment.maxAge", "must be between 1s and 1h")
	}
	if d := time.Duration(c.Points.Every); d < time.Second || d > 24*time.Hour {
		bad("points.every", "must be between 1s and 24h")
	}
	if s := c.Kafka.SASL; s != nil && s.Username == "" {
		bad("kafka.sasl.username", "is missing")
	}
	if t := c.Kafka.TLS; t != nil && (t.CertFile == "") != (t.KeyFile == "") {
		bad("kafka.tls", "certFile and keyFile belong together")
	}
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		bad("log.level", "%q is none of debug, info, warn, error", c.Log.Level)
	}
	switch c.Log.Format {
	case "auto", "text", "json":
	default:
		bad("log.format", "%q is none of auto, text, json", c.Log.Format)
	}
	if _, err := c.Topics(); err != nil {
		bad("select.topics", "%v", err)
	}
	return errors.Join(errs...)
}

// Topics returns the selection.
func (c *Config) Topics() (pattern.List, error) {
	texts := append([]string{}, c.Select.Topics.Include...)
	for _, x := range c.Select.Topics.Exclude {
		texts = append(texts, "!"+x)
	}
	return pattern.Parse(texts)
}

// Client returns the connection settings for package kafka.
func (k *Kafka) Client() kafka.Config {
	c := kafka.Config{BootstrapServers: k.BootstrapServers, ClientID: k.ClientID}
	if k.TLS != nil {
		c.TLS = &kafka.TLS{CAFile: k.TLS.CAFile, CertFile: k.TLS.CertFile, KeyFile: k.TLS.KeyFile, ServerName: k.TLS.ServerName}
	}
	if k.SASL != nil {
		c.SASL = &kafka.SASL{Mechanism: k.SASL.Mechanism, Username: k.SASL.Username, Password: k.SASL.password}
	}
	return c
}

func (s *SASL) password() (string, error) {
	if s.PasswordFile == "" {
		p, ok := os.LookupEnv(PasswordVariable)
		if !ok {
			return "", fmt.Errorf("%w: kafka.sasl: no passwordFile is given and %s is not set", ErrInvalid, PasswordVariable)
		}
		return p, nil
	}
	b, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("%w: kafka.sasl.passwordFile: %w", ErrInvalid, err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// Set overrides one value, given as a path of keys and a YAML value:
// "segment.maxAge=5s".
func (c *Config) Set(assignment string) error {
	path, value, ok := strings.Cut(assignment, "=")
	if !ok {
		return fmt.Errorf("%w: %q is not KEY=VALUE, such as segment.maxAge=5s", ErrInvalid, assignment)
	}
	keys := strings.Split(path, ".")
	text := strings.Join(keys, ": {") + ": " + value + strings.Repeat("}", len(keys)-1)
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, assignment, suggest(err))
	}
	return nil
}
