// Package config reads the configuration files of backupd and restored.
// Unknown keys and wrong values are errors that name line, key and remedy, all
// of them at once.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"go.yaml.in/yaml/v4"
)

// ErrInvalid is wrapped by every error about a configuration.
var ErrInvalid = errors.New("invalid configuration")

// Config is the file, and what flags put in its place.
type Config struct {
	Version int   `yaml:"version"`
	Kafka   Kafka `yaml:"kafka"`
	Store   Store `yaml:"store"`

	Encryption Encryption `yaml:"encryption"`
	Signing    Signing    `yaml:"signing"`

	Select    Select    `yaml:"select"`
	Segment   Segment   `yaml:"segment"`
	Points    Points    `yaml:"points"`
	Groups    Groups    `yaml:"groups"`
	Metadata  Metadata  `yaml:"metadata"`
	Merge     Merge     `yaml:"merge"`
	Snapshots Snapshots `yaml:"snapshots"`
	Replicas  []Replica `yaml:"replicas"`
	Retention Retention `yaml:"retention"`
	Verify    Verify    `yaml:"verify"`
	Admin     Admin     `yaml:"admin"`
	HTTP      HTTP      `yaml:"http"`
	Restore   Restore   `yaml:"restore"`
	Log       Log       `yaml:"log"`
}

// Kafka says how to reach the cluster.
type Kafka struct {
	BootstrapServers Servers `yaml:"bootstrapServers"`
	ClientID         string  `yaml:"clientId"`
	TLS              *TLS    `yaml:"tls"`
	SASL             *SASL   `yaml:"sasl"`
}

// Servers are addresses, HOST:PORT or, on Kafka's usual port 9092, HOST. In one
// text they are separated by commas.
type Servers []string

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Servers) UnmarshalText(text []byte) error {
	*s = nil
	for address := range strings.SplitSeq(string(text), ",") {
		*s = append(*s, strings.TrimSpace(address))
	}
	return nil
}

func checkServer(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil && !strings.ContainsAny(address, ":/") {
		host, port, err = address, "9092", nil
	}
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || perr != nil || n == 0 {
		return fmt.Errorf("%q is not HOST:PORT", address)
	}
	return nil
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

// Groups says how group offsets are captured.
type Groups struct {
	Capture string `yaml:"capture"` // auto, log, poll
}

// Metadata says how often the cluster's metadata besides topics and groups is
// read.
type Metadata struct {
	Every Duration `yaml:"every"`
}

// Snapshots says how often the state of the log is stored, from which it can be
// read on.
type Snapshots struct {
	Every int `yaml:"every"` // log entries, 0 for never
}

// Merge says how small blocks become large ones.
type Merge struct {
	Every        Duration `yaml:"every"` // 0: backupd run does not
	MinAge       Duration `yaml:"minAge"`
	TargetBytes  Size     `yaml:"targetBytes"`
	MaxBandwidth Rate     `yaml:"maxBandwidth"`
	Recompress   bool     `yaml:"recompress"`
}

// Admin is how a running backupd can be asked for something.
type Admin struct {
	Listen string `yaml:"listen"` // HOST:PORT on loopback, or empty for nowhere
}

// checkLoopback returns an error unless only this machine reaches the address.
func checkLoopback(address string) error {
	host, port, err := net.SplitHostPort(address)
	if _, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil {
		return fmt.Errorf("%q is not HOST:PORT", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%q is not on loopback, such as 127.0.0.1:8081: whoever reaches it may ask", address)
	}
	return nil
}

// Log is how the program reports.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // auto, text, json
}

// Default returns the configuration without a file.
func Default() *Config {
	return &Config{
		Version:   1,
		Select:    Select{Topics: Patterns{Include: []string{"*"}, Exclude: []string{"__*"}}},
		Segment:   Segment{MaxBytes: 64 << 20, MaxAge: Duration(10 * time.Second)},
		Points:    Points{Every: Duration(time.Minute)},
		Store:     Store{S3: S3{Addressing: "auto", Checksum: "auto"}},
		Groups:    Groups{Capture: "auto"},
		Metadata:  Metadata{Every: Duration(time.Minute)},
		Merge:     Merge{MinAge: Duration(15 * time.Minute), TargetBytes: 128 << 20},
		Snapshots: Snapshots{Every: 1000},
		Retention: Retention{MinPoints: 1, Timezone: "UTC", Grace: Span(24 * time.Hour), MaxRemovedShare: 0.5},
		Verify:    Verify{Level: "digest", Sample: WholeSample},
		Restore:   Restore{At: "latest", Topics: []string{"*"}, IfExists: "refuse", Metadata: []string{"topics", "configs"}},
		Log:       Log{Level: "info", Format: "auto"},
	}
}

// Size is a number of bytes, written with a unit: 64MiB.
type Size int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	v, err := humanize.ParseBytes(string(text))
	if err != nil || !bytes.ContainsAny(text, "bB") || v > 1<<40 {
		return fmt.Errorf("%q is not a size with a unit, such as 64MiB", text)
	}
	*s = Size(v)
	return nil
}

// Load reads a file over the defaults. ${NAME} and ${NAME:-default} in values
// are replaced by environment variables. An error about keys and values names
// all of them, those that Validate finds included.
func Load(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	c := Default()
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var file yaml.Node
	if err := dec.Decode(&file); errors.Is(err, io.EOF) {
		return c, nil
	} else if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, path, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s: more than one YAML document", ErrInvalid, path)
	}
	problems, lines := decode(file.Content[0], c)
	for _, problem := range c.check() {
		problems = append(problems, locate(problem, lines))
	}
	if len(problems) > 0 {
		return nil, invalid(path+": ", problems)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, path, err)
	}
	c.resolve(dir)
	return c, nil
}

// resolve makes relative file names relative to the file that names them.
func (c *Config) resolve(dir string) {
	for _, p := range c.files() {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	c.Resolve(dir)
}

// Resolve makes the paths of directories with repositories relative to dir, where they
// are relative.
func (c *Config) Resolve(dir string) {
	c.Store.Resolve(dir)
	for i := range c.Replicas {
		c.Replicas[i].Resolve(dir)
	}
}

func (c *Config) files() []*string {
	list := []*string{&c.Restore.AtOffsets, &c.Encryption.RecipientsFile, &c.Encryption.IdentityFile, &c.Signing.KeyFile}
	list = append(list, storeFiles(&c.Store.S3, &c.Store.GCS, &c.Store.Azure)...)
	for i := range c.Replicas {
		r := &c.Replicas[i]
		list = append(list, storeFiles(&r.S3, &r.GCS, &r.Azure)...)
	}
	if t := c.Kafka.TLS; t != nil {
		list = append(list, &t.CAFile, &t.CertFile, &t.KeyFile)
	}
	if s := c.Kafka.SASL; s != nil {
		list = append(list, &s.PasswordFile)
	}
	return list
}

// Validate checks what needs no cluster and no store.
func (c *Config) Validate() error {
	return invalid("", c.check())
}

// invalid returns an error with a line for each problem, or nil if there is none.
func invalid(where string, problems []string) error {
	errs := make([]error, len(problems))
	for i, problem := range problems {
		errs[i] = fmt.Errorf("%w: %s%s", ErrInvalid, where, problem)
	}
	return errors.Join(errs...)
}

// check returns what is wrong with values.
func (c *Config) check() []string {
	var problems []string
	bad := func(key, format string, args ...any) {
		problems = append(problems, key+": "+fmt.Sprintf(format, args...))
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
	if d := time.Duration(c.Metadata.Every); d < time.Second || d > 24*time.Hour {
		bad("metadata.every", "must be between 1s and 24h")
	}
	if n := c.Snapshots.Every; n != 0 && (n < 10 || n > 100_000) {
		bad("snapshots.every", "must be between 10 and 100000 log entries, or 0 for never")
	}
	c.Merge.check(bad)
	switch c.Groups.Capture {
	case "auto", "log", "poll":
	default:
		bad("groups.capture", "%q is none of auto, log, poll", c.Groups.Capture)
	}
	c.Verify.check(bad)
	if c.Admin.Listen != "" {
		if err := checkLoopback(c.Admin.Listen); err != nil {
			bad("admin.listen", "%v", err)
		}
	}
	c.HTTP.check(c.Admin.Listen, bad)
	c.Kafka.check(bad)
	c.Log.check(bad)
	c.Store.check("store", bad)
	if _, err := c.Topics(); err != nil {
		bad("select.topics", "%v", err)
	}
	checkReplicaList(c.Replicas, bad)
	c.Retention.check(bad)
	c.Encryption.check(bad)
	c.Signing.check(bad)
	c.Restore.check(bad)
	return problems
}

func (k *Kafka) check(bad func(key, format string, args ...any)) {
	for _, address := range k.BootstrapServers {
		if err := checkServer(address); err != nil {
			bad("kafka.bootstrapServers", "%v", err)
		}
	}
	if s := k.SASL; s != nil {
		if s.Username == "" {
			bad("kafka.sasl.username", "is missing")
		}
		if err := kafka.CheckMechanism(s.Mechanism); err != nil {
			bad("kafka.sasl.mechanism", "%v", err)
		}
	}
	if t := k.TLS; t != nil && (t.CertFile == "") != (t.KeyFile == "") {
		bad("kafka.tls", "certFile and keyFile belong together")
	}
}

func (l *Log) check(bad func(key, format string, args ...any)) {
	switch l.Level {
	case "debug", "info", "warn", "error":
	default:
		bad("log.level", "%q is none of debug, info, warn, error", l.Level)
	}
	switch l.Format {
	case "auto", "text", "json":
	default:
		bad("log.format", "%q is none of auto, text, json", l.Format)
	}
}

func (m *Merge) check(bad func(key, format string, args ...any)) {
	if d := time.Duration(m.Every); d != 0 && d < time.Second || d > 7*24*time.Hour {
		bad("merge.every", "must be between 1s and 168h, or 0s for never")
	}
	if d := time.Duration(m.MinAge); d < 0 || d > 30*24*time.Hour {
		bad("merge.minAge", "must be between 0s and 720h")
	}
	if m.TargetBytes < 16<<20 || m.TargetBytes > 4<<30 {
		bad("merge.targetBytes", "must be between 16MiB and 4GiB")
	}
	if m.MaxBandwidth.slowerThan(1 << 20) {
		bad("merge.maxBandwidth", "must be at least 1MiB a second, or none")
	}
}

// Topics returns the selection. A name that no topic can have is an error.
func (c *Config) Topics() (pattern.List, error) {
	texts := append([]string{}, c.Select.Topics.Include...)
	for _, x := range c.Select.Topics.Exclude {
		texts = append(texts, "!"+x)
	}
	list, err := pattern.Parse(texts)
	if err != nil {
		return list, err
	}
	return list, checkNames(list)
}

// checkNames returns an error if a literal cannot be the name of a topic.
func checkNames(list pattern.List) error {
	for _, name := range list.Literals() {
		if !topicName.MatchString(name) || name == "." || name == ".." {
			return fmt.Errorf("%q cannot be the name of a topic: it has letters, digits, dots, dashes and underscores, 249 at most; patterns are separated by commas", name)
		}
	}
	return nil
}

var topicName = regexp.MustCompile(`\A[a-zA-Z0-9._-]{1,249}\z`)

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

// Set overrides one value, given as a path of keys and a YAML value:
// "segment.maxAge=5s".
func (c *Config) Set(assignment string) error {
	path, text, ok := strings.Cut(assignment, "=")
	if !ok {
		return fmt.Errorf("%w: %q is not KEY=VALUE, such as segment.maxAge=5s", ErrInvalid, assignment)
	}
	var parsed yaml.Node
	if err := yaml.Unmarshal([]byte(text), &parsed); err != nil {
		return fmt.Errorf("%w: the value of %s: %w", ErrInvalid, path, err)
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Style: yaml.DoubleQuotedStyle} // KEY= is the empty text
	if len(parsed.Content) > 0 {
		n = parsed.Content[0]
		n.Line = 0
	}
	for _, key := range slices.Backward(strings.Split(path, ".")) {
		n = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: key}, n}}
	}
	problems, _ := decode(n, c)
	return invalid("", problems)
}
