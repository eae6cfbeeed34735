package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/admin"
	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/sink"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/storecheck"
	"github.com/spf13/cobra"
)

func TestExitCode(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("anything else"), 1},
		{kafka.ErrUnreachable, 1},
		{kafka.ErrTLS, 1},
		{kafka.ErrAuthentication, 1},
		{store.ErrAuth, 14},
		{store.ErrFull, 1},
		{context.DeadlineExceeded, 1},
		{Usagef("bad flag"), 2},
		{config.ErrInvalid, 2},
		{store.ErrInvalid, 2},
		{manifest.ErrPointName, 2},
		{admin.ErrAddress, 2},
		{source.ErrIncomplete, 3},
		{manifest.ErrNoRepository, 10},
		{manifest.ErrFenced, 11},
		{sink.ErrRunning, 11},
		{manifest.ErrDamaged, 13},
		{&manifest.Damage{Key: "log/1", Err: io.ErrUnexpectedEOF}, 13},
		{segment.ErrCorrupt, 13},
		{source.ErrRefused, 14},
		{source.ErrNothing, 14},
		{source.ErrNoPoint, 14},
		{manifest.ErrNameTaken, 14},
		{manifest.ErrPinned, 14},
		{manifest.ErrHeld, 14},
		{retention.ErrShare, 14},
		{retention.ErrKept, 1},
		{fmt.Errorf("%w: %w", retention.ErrKept, store.ErrAuth), 1},
		{fmt.Errorf("%w: %w", manifest.ErrDamaged, store.ErrAuth), 13},
		{source.ErrLost, 5},
		{manifest.ErrSwept, 11},
		{sink.ErrUnreadable, 14},
		{sink.ErrNoTopics, 14},
		{manifest.ErrOtherCluster, 14},
		{manifest.ErrVersion, 14},
		{storecheck.ErrNoFence, 14},
		{storecheck.ErrUnfit, 14},
		{&kafka.AuthorizationError{Operation: "Read", ResourceType: "Topic", Resource: "orders"}, 14},
		{context.Canceled, 130},
		{errors.Join(manifest.ErrDamaged, context.Canceled), 13},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("exitCode(%v) = %d, want %d", test.err, got, test.want)
		}
		if test.err != nil {
			if got := exitCode(fmt.Errorf("do something: %w", test.err)); got != test.want {
				t.Errorf("wrapped, exitCode(%v) = %d, want %d", test.err, got, test.want)
			}
		}
	}
}

// program returns a small program like ours, with a subcommand that fails.
func program(g *Globals, fail error) *cobra.Command {
	root := &cobra.Command{Use: "backupd"}
	sub := &cobra.Command{Use: "status", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return fail }}
	sub.Flags().Bool("alone", false, "")
	sub.Flags().Int("limit", 50, "")
	sub.Flags().Duration("wait", time.Minute, "")
	sub.Flags().Lookup("wait").NoOptDefVal = "10m0s"
	g.Register(root)
	g.OutputFlag(sub)
	root.AddCommand(sub, &cobra.Command{Use: "show POINT [FILE]", Args: cobra.RangeArgs(1, 2), RunE: sub.RunE})
	explainUsage(root)
	root.SetOut(io.Discard)
	return root
}

func TestUsageErrors(t *testing.T) {
	for args, want := range map[string]string{
		"statsu":                          `unknown command "statsu"; did you mean "status"?`,
		"restore":                         `unknown command "restore"; see "backupd --help"`,
		"status orders":                   `unexpected argument "orders"; see "backupd status --help"`,
		"show":                            `POINT is missing: "backupd show POINT [FILE]"; see "backupd show --help"`,
		"show 1 2 3":                      `unexpected argument "3"; see "backupd show --help"`,
		"status --nope":                   `unknown flag: --nope; see "backupd status --help"`,
		"--nope":                          `unknown flag: --nope; see "backupd --help"`,
		"status --repo":                   `flag needs an argument: --repo; see "backupd status --help"`,
		"status --logformat=text":         `unknown flag: --logformat; did you mean --log-format?; see "backupd status --help"`,
		"status --alone=yes":              `--alone=yes: want true or false; see "backupd status --help"`,
		"status --limit many":             `invalid argument "many" for --limit: want a number; see "backupd status --help"`,
		"status --wait 5s":                `unexpected argument "5s": a value of --wait follows after =, as in --wait=5s; see "backupd status --help"`,
		"status -o yaml":                  `-o yaml: want text or json`,
		"status --log-level loud":         `log.level: "loud" is none of debug, info, warn, error`,
		"status -X colour=blue":           `unknown key "colour"`,
		"status -c /nowhere.yaml":         `/nowhere.yaml: no such file`,
		"status --bootstrap-server a:1,":  `kafka.bootstrapServers: "" is not HOST:PORT`,
		"status --bootstrap-server a:b":   `kafka.bootstrapServers: "a:b" is not HOST:PORT`,
		"status -X version=2 -X a.b.c=1":  `unknown key "a"`,
		"status --log-format=xml -o json": `log.format: "xml" is none of auto, text, json`,
	} {
		root := program(&Globals{}, nil)
		root.SetArgs(strings.Fields(args))
		err := root.Execute()
		if exitCode(err) != ExitUsage || !strings.Contains(err.Error(), want) {
			t.Errorf("backupd %s: %v (exit %d), want %q (exit 2)", args, err, exitCode(err), want)
		}
	}
}

func TestHelpIsNoError(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"status", "--help"}, {"help"}, {"help", "status"}} {
		root := program(&Globals{}, errors.New("ran"))
		root.SetArgs(args)
		if err := root.Execute(); err != nil {
			t.Errorf("backupd %v: %v", args, err)
		}
	}
}

func TestReport(t *testing.T) {
	fail := errors.Join(errors.New("first\nand second"), manifest.ErrDamaged)
	const todo = `"restored verify" says what is damaged and what that costs, "backupd repair [--from COPY]" mends it with what a copy or the cluster still has`
	const text = "first; and second; the repository is damaged; " + todo
	for args, check := range map[string]func(t *testing.T, line string){
		"status": func(t *testing.T, line string) {
			if want := "backupd: 3 errors:\n  - first\n  - and second\n  - the repository is damaged\n  " + todo; line != want {
				t.Errorf("got %q, want %q", line, want)
			}
		},
		"status -o json": func(t *testing.T, line string) {
			var got struct {
				SchemaVersion, ExitCode int
				Error                   string
			}
			if err := json.Unmarshal([]byte(line), &got); err != nil || got.SchemaVersion != 1 || got.ExitCode != 13 || got.Error != text {
				t.Errorf("got %s: %+v, %v", line, got, err)
			}
		},
		"status --log-format json": func(t *testing.T, line string) {
			var got struct {
				Level, Error string
				ExitCode     int
			}
			if err := json.Unmarshal([]byte(line), &got); err != nil || got.Level != "ERROR" || got.ExitCode != 13 || got.Error != text {
				t.Errorf("got %s: %+v, %v", line, got, err)
			}
		},
	} {
		t.Run(args, func(t *testing.T) {
			var out bytes.Buffer
			g := &Globals{}
			root := program(g, fail)
			root.SetArgs(strings.Fields(args))
			cmd, err := root.ExecuteC()
			g.Log = slog.New(slog.NewJSONHandler(&out, nil))
			report(&out, g, cmd, err)
			text, ended := strings.CutSuffix(out.String(), "\n")
			if !ended || args != "status" && strings.Contains(text, "\n") {
				t.Errorf("more than a line, or less: %q", out.String())
			}
			check(t, text)
		})
	}
}

// A mistake that is found before the flags have been read is reported as well.
func TestReportWithoutConfiguration(t *testing.T) {
	var out bytes.Buffer
	g := &Globals{}
	root := program(g, nil)
	root.SetArgs([]string{"nope"})
	cmd, err := root.ExecuteC()
	report(&out, g, cmd, err)
	if got, want := out.String(), "backupd: unknown command \"nope\"; see \"backupd --help\"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Of several mistakes in a configuration, each has its line.
func TestReportOfConfigurationMistakes(t *testing.T) {
	var out bytes.Buffer
	g := &Globals{}
	root := program(g, nil)
	root.SetArgs([]string{"status", "-X", "store.maxUpload=1KiB", "-X", "replicas=[{every: 1s}, {url: 's3:/x'}]", "-X", "colour=blue"})
	cmd, err := root.ExecuteC()
	report(&out, g, cmd, err)
	got := out.String()
	if !strings.HasPrefix(got, "backupd: 4 errors:\n  - ") || strings.Count(got, "\n  - invalid configuration: ") != 4 || exitCode(err) != ExitUsage {
		t.Errorf("got %q and exit code %d", got, exitCode(err))
	}
	for _, word := range []string{"store.maxUpload", "replicas[0].url: is missing", "replicas[1].url: store URL s3:/x", `unknown key "colour"`} {
		if !strings.Contains(got, word) {
			t.Errorf("%q is not in %q", word, got)
		}
	}
}

func TestHint(t *testing.T) {
	for err, word := range map[error]string{
		store.ErrAuth: "credentials", store.ErrFull: "make room", manifest.ErrOtherCluster: "repository of its own",
		manifest.ErrVersion: "version", manifest.ErrDamaged: "restored verify", storecheck.ErrNoFence: "store.unsafeNoFence",
		context.Canceled: "same command", fmt.Errorf("%w: the identity %w", manifest.ErrLocked, manifest.ErrRetired): "--log-until",
	} {
		if got := hint(fmt.Errorf("wrapped: %w", err), "/backup"); !strings.HasPrefix(got, "; ") || !strings.Contains(got, word) {
			t.Errorf("hint(%v) = %q", err, got)
		}
	}
	local := fmt.Errorf("%w: %w", store.ErrAuth, &fs.PathError{Op: "mkdir", Path: "/x", Err: fs.ErrPermission})
	if got := hint(local, "/backup"); !strings.Contains(got, "directory") || strings.Contains(got, "AWS") {
		t.Errorf("of a directory: %q", got)
	}
	if got := hint(store.ErrAuth, "s3://bucket"); strings.Contains(got, "directory") {
		t.Errorf("of a bucket: %q", got)
	}
	if got := hint(&manifest.Damage{Key: manifest.RepositoryKey, Err: errors.New("missing")}, "s3://bucket"); strings.Contains(got, "verify") || !strings.Contains(got, "repair --from COPY") {
		t.Errorf("no descriptor: %q", got)
	}
	if got := hint(errors.New("anything"), "s3://bucket"); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestHintsOfStores(t *testing.T) {
	for url, words := range map[string][2]string{
		"s3://bucket/x": {"AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL_S3"},
		"gs://bucket/x": {"GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"},
		"az://a/b/x":    {"AZURE_STORAGE_KEY", "AZURE_STORAGE_SERVICE_ENDPOINT"},
	} {
		for i, err := range []error{store.ErrAuth, store.ErrUnreachable} {
			got := hint(err, url)
			if !strings.Contains(got, words[i]) {
				t.Errorf("hint(%v) for %s = %q, want it to name %s", err, url, got, words[i])
			}
			if strings.Contains(got, "AWS") != strings.HasPrefix(url, "s3:") {
				t.Errorf("hint(%v) for %s = %q, which is for another store", err, url, got)
			}
		}
	}
}

// Whoever interrupts a program need not know what Go calls that.
func TestReportOfAnInterruption(t *testing.T) {
	for want, err := range map[string]error{
		"backupd: interrupted: the same command goes on from where this one was\n":                                                             context.Canceled,
		"backupd: connect to kafka; interrupted: the same command goes on from where this one was\n":                                           fmt.Errorf("connect to kafka: %w", context.Canceled),
		"backupd: a second signal: what was not committed yet is left undone; interrupted: the same command goes on from where this one was\n": errAbandoned,
		"backupd: put x: full; interrupted: the same command goes on from where this one was\n":                                                fmt.Errorf("put x: full (%w)", context.Canceled),
	} {
		var out bytes.Buffer
		root := program(&Globals{}, err)
		report(&out, &Globals{}, root, err)
		if got := out.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Durations are read by people and programs alike.
func TestDurationsInJSONLogs(t *testing.T) {
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{ReplaceAttr: durationAsText})).Info("x", "again in", 2*time.Second, "n", 2)
	if got := out.String(); !strings.Contains(got, `"again in":"2s","n":2}`) {
		t.Error(got)
	}
}
