package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/lmittmann/tint"
	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/metered"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Version is the program's version, set by the linker.
var Version = "0.1.0-dev"

// Globals are the flags that every subcommand has.
type Globals struct {
	file      string
	repo      string
	bootstrap string
	set       []string
	level     string
	format    string
	admin     string
	http      string
	Output    string // text or json
	logUntil  logEntry

	Config *config.Config
	Log    *slog.Logger
	Meter  metered.Meter // of the calls of the repository's store, or nil
	screen *screen       // nil unless standard error is a terminal
}

// Register adds the flags to the root command.
func (g *Globals) Register(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVarP(&g.file, "config", "c", "", "configuration `FILE` (YAML); flags count more")
	f.StringVar(&g.repo, "repo", "", "`URL` of the repository: a path, file:///path, s3://bucket/prefix, gs://bucket/prefix or az://account/container/prefix")
	f.StringVar(&g.bootstrap, "bootstrap-server", "", "Kafka brokers to begin with, `HOST:PORT`, separated by commas")
	f.StringArrayVarP(&g.set, "set", "X", nil, "set a `KEY=VALUE` of the configuration, such as kafka.tls.caFile=ca.pem (repeatable)")
	f.StringVar(&g.level, "log-level", "", "`LEVEL` of the log: debug, info, warn or error (default info)")
	f.StringVar(&g.format, "log-format", "", "`FORMAT` of the log: auto (for people on a terminal, else text), text or json (default auto)")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return g.load() }
}

// OutputFlag adds -o to a subcommand.
func (g *Globals) OutputFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&g.Output, "output", "o", "text", "`FORMAT` of the output, and of an error: text or json")
}

// ListenFlags adds --admin-listen and --http-listen to a subcommand.
func (g *Globals) ListenFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&g.http, "http-listen", "", "answer /metrics, /livez and /readyz at `HOST:PORT`, or :PORT for all addresses (default nowhere)")
	cmd.Flags().StringVar(&g.admin, "admin-listen", "", "answer requests such as \"backupd point create --admin\" at `HOST:PORT` on loopback (default nowhere)")
}

// LogUntilFlag adds --log-until to a program that only reads.
func (g *Globals) LogUntilFlag(root *cobra.Command) {
	root.PersistentFlags().Var(&g.logUntil, "log-until", "read the repository as it was after the log entry `SEQ`: nothing that came later counts, what it removed or moved included")
}

// LogUntil is the entry that --log-until names, 0 if it is not given.
func (g *Globals) LogUntil() uint64 { return uint64(g.logUntil) }

// logEntry is the number of a log entry on the command line.
type logEntry uint64

func (e *logEntry) String() string { return strconv.FormatUint(uint64(*e), 10) }
func (e *logEntry) Type() string   { return "SEQ" }

// Set implements pflag.Value.
func (e *logEntry) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return errors.New("want the number of a log entry, as \"backupd audit\" lists them")
	}
	*e = logEntry(n)
	return nil
}

// load reads the configuration and lets the flags override it.
func (g *Globals) load() error {
	g.Config = config.Default()
	if g.file != "" {
		c, err := config.Load(g.file)
		if err != nil {
			return err
		}
		g.Config = c
	}
	var wrong []error
	for _, s := range g.set {
		if err := g.Config.Set(s); err != nil {
			wrong = append(wrong, err)
		}
	}
	if dir, err := os.Getwd(); err == nil {
		g.Config.Resolve(dir) // so that messages say where it is
		g.repo = config.ResolveURL(g.repo, dir)
	}
	if g.repo != "" {
		g.Config.Store = g.given()
	}
	if g.bootstrap != "" {
		_ = g.Config.Kafka.BootstrapServers.UnmarshalText([]byte(g.bootstrap)) // no error
	}
	if g.admin != "" {
		g.Config.Admin.Listen = g.admin
	}
	if g.http != "" {
		g.Config.HTTP.Listen = g.http
	}
	if g.level != "" {
		g.Config.Log.Level = g.level
	}
	if g.format != "" {
		g.Config.Log.Format = g.format
	}
	if g.Output != "" && g.Output != "text" && g.Output != "json" {
		return Usagef("-o %s: want text or json", g.Output)
	}
	if err := g.Config.Validate(); err != nil {
		wrong = append(wrong, err)
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	if Terminal(os.Stderr) {
		g.screen = &screen{}
	}
	g.Log = newLogger(g.Config.Log, g.screen)
	return nil
}

// given returns the store that --repo names: with the settings of the replica there, if
// the configuration has one, else with those of the repository's store. What -X sets
// of a store is for this one.
func (g *Globals) given() config.Store {
	if i := g.Config.ReplicaAt(g.repo); i >= 0 && g.Config.Store.URL != g.repo {
		g.Config.Store = g.Config.StoreAt(g.repo)
		for _, s := range g.set {
			if strings.HasPrefix(s, "store.") {
				_ = g.Config.Set(s) // it was taken, or refused, before
			}
		}
	}
	s := g.Config.Store
	s.URL = g.repo
	return s
}

// RepoGiven says whether the repository is that of --repo, and not of the configuration.
func (g *Globals) RepoGiven() bool { return g.repo != "" }

// newLogger returns one that writes to standard error.
func newLogger(c config.Log, terminal *screen) *slog.Logger {
	var w io.Writer = os.Stderr
	if terminal != nil {
		w = terminal
	}
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // validated
	options := &slog.HandlerOptions{Level: level}
	switch {
	case c.Format == "json":
		options.ReplaceAttr = durationAsText
		return slog.New(slog.NewJSONHandler(w, options))
	case c.Format == "auto" && terminal != nil:
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: os.Getenv("NO_COLOR") != ""}))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// durationAsText lets a duration be "2s" in JSON, as it is in text, and not nanoseconds.
func durationAsText(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// Terminal says whether a person is likely to read the file.
func Terminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Repository opens the repository, which must exist. Who then opens its log to append to it
// gets the error of NotBehind.
func (g *Globals) Repository(ctx context.Context) (*manifest.Repository, error) {
	st, err := g.Store(ctx)
	if err != nil {
		return nil, err
	}
	repo, err := manifest.Open(ctx, st)
	if errors.Is(err, manifest.ErrNoRepository) {
		return nil, fmt.Errorf("%w at %s: check the URL (a first \"backupd once\" or \"backupd run\" makes one)", err, g.Config.Store.URL)
	}
	if err != nil {
		return nil, fmt.Errorf("open repository %s: %w", g.Config.Store.URL, err)
	}
	repo.Debug, repo.BeforeAppending = g.Log, g.notBehindOnce(repo)
	if err := g.Unlock(repo); err != nil {
		return nil, err
	}
	if n := g.LogUntil(); n > 0 {
		repo.Until(n)
		if _, err := repo.Last(ctx); errors.Is(err, manifest.ErrNoEntry) { // before anything is said of it, or done
			return nil, err
		}
		g.Log.Warn("the repository is read as it was after this log entry: nothing that came later counts", "entry", n)
	}
	return repo, nil
}

// Unlock gives a repository the identity and the keys that the configuration names,
// and returns an error if that does not fit whether it is encrypted.
func (g *Globals) Unlock(repo *manifest.Repository) error {
	id, err := g.Config.Encryption.Identity()
	if err != nil {
		return err
	}
	if wanted := g.Config.Encryption.Wanted(); !repo.Encrypted && (wanted || id != nil) {
		return fmt.Errorf("%w, but %s is given, which is to be left out for it", manifest.ErrNotEncrypted, g.Config.Encryption.Said())
	}
	repo.Unlock(id)
	if err := g.sealOnlyForReaders(repo); err != nil {
		return err
	}
	key, err := g.SigningKey()
	if err != nil {
		return err
	}
	public, head := g.Config.Signing.Trusted()
	repo.SignWith(key)
	var pinned *manifest.Head
	if head != nil {
		pinned = &manifest.Head{Sequence: head.Sequence, Digest: head.Digest}
	}
	repo.Trust(public, pinned)
	return nil
}

// sealOnlyForReaders makes sure that nobody reads what is written but whom the
// configuration names, whatever keys somebody states meanwhile.
func (g *Globals) sealOnlyForReaders(repo *manifest.Repository) error {
	if !g.Config.Encryption.Wanted() {
		return nil
	}
	readers, err := g.Config.Encryption.Readers()
	if err != nil {
		return err
	}
	recipients := make([]string, len(readers))
	for i := range readers {
		recipients[i] = readers[i].Recipient
	}
	repo.SealOnlyFor(recipients)
	return nil
}

// SigningKey returns the key with which entries are signed, nil for none. What it signs
// must not be refused by those who know the configured public key.
func (g *Globals) SigningKey() (*crypt.SigningKey, error) {
	key, err := g.Config.Signing.Key()
	public, _ := g.Config.Signing.Trusted()
	if err == nil && key != nil && public != nil && key.Public() != *public {
		return nil, fmt.Errorf("%w: signing.publicKey is %s, and the public key of signing.keyFile is %s: what is signed with the one is refused by those who know the other", config.ErrInvalid, public, key.Public())
	}
	return key, err
}

// Connect reaches the Kafka cluster.
func (g *Globals) Connect(ctx context.Context, clientID string) (*kafka.Cluster, error) {
	if len(g.Config.Kafka.BootstrapServers) == 0 {
		return nil, Usagef("which cluster? give --bootstrap-server HOST:PORT, or kafka.bootstrapServers in the configuration")
	}
	return g.connect(ctx, &g.Config.Kafka, clientID)
}

// ConnectTo reaches a second Kafka cluster: that of the kafka section of a
// configuration file, or at the given addresses, which count more.
func (g *Globals) ConnectTo(ctx context.Context, file, bootstrap, clientID string) (*kafka.Cluster, error) {
	c := config.Default()
	if file != "" {
		var err error
		if c, err = config.Load(file); err != nil {
			return nil, err
		}
	}
	if bootstrap != "" {
		_ = c.Kafka.BootstrapServers.UnmarshalText([]byte(bootstrap)) // no error
	}
	if len(c.Kafka.BootstrapServers) == 0 {
		return nil, Usagef("which other cluster? %s has no kafka.bootstrapServers", file)
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return g.connect(ctx, &c.Kafka, clientID)
}

func (g *Globals) connect(ctx context.Context, k *config.Kafka, clientID string) (*kafka.Cluster, error) {
	if err := k.CheckFiles(); err != nil {
		return nil, err
	}
	c := k.Client()
	if c.ClientID == "" {
		c.ClientID = clientID
	}
	return kafka.Connect(ctx, c, g.Log)
}

// HasCluster says whether the configuration names a cluster.
func (g *Globals) HasCluster() bool { return len(g.Config.Kafka.BootstrapServers) > 0 }

// LimitMemory lets the garbage collector keep the process at about the given
// size in bytes; GOMEMLIMIT in the environment counts more.
func LimitMemory(bytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes)
	}
}

// Out is where data goes; logs and progress go to standard error.
func Out(cmd *cobra.Command) io.Writer { return cmd.OutOrStdout() }

// WriteJSON writes an answer as JSON for programs and people.
func WriteJSON(out io.Writer, answer any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(answer)
}
