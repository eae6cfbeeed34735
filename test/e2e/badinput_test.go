//go:build e2e

package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// Bad input gives one message that names the thing, in one line, and an exit code; nothing is made or changed. The
// tests are spread over the files badinput_*_test.go.

// Exit codes beside those of the harness; internal/cli/exit.go has them all.
const (
	exitFailed       = 1
	exitUsage        = 2
	exitLost         = 5
	exitNoRepository = 10
	exitDamaged      = 13
	exitCancelled    = 130
)

// secret is the password that all tests use and no output may show.
const secret = "hunter2-never-shown"

// wantError fails the test unless the process ended with the code and one line that has all of the words.
func wantError(t *testing.T, o outcome, code int, words ...string) {
	t.Helper()
	if o.code != code {
		t.Fatalf("exit code %d, want %d\n%s\n%s", o.code, code, tail(o.stdout), tail(o.stderr))
	}
	message := theMessage(t, o)
	for _, word := range words {
		if !strings.Contains(message, word) {
			t.Errorf("%q is not in the message\n%s", word, message)
		}
	}
	for _, word := range []string{"goroutine", "panic", "runtime error", "internal error", ".go:", "&{", "%!", "config.", "kmsg.", "kgo.", "*errors", "<nil>"} {
		if strings.Contains(message, word) {
			t.Errorf("%q is in the message\n%s", word, message)
		}
	}
	if strings.Contains(o.stdout+o.stderr, secret) {
		t.Errorf("the output shows the password:\n%s\n%s", o.stdout, o.stderr)
	}
}

// theMessage returns the one line on standard error that is no log.
func theMessage(t *testing.T, o outcome) string {
	t.Helper()
	var messages []string
	for line := range strings.Lines(o.stderr) {
		if strings.HasPrefix(line, "  ") && len(messages) == 1 { // one of several errors
			messages[0] += "; " + strings.TrimPrefix(strings.TrimSpace(line), "- ")
		} else if !strings.HasPrefix(line, "time=") {
			messages = append(messages, strings.TrimSuffix(line, "\n"))
		}
	}
	if len(messages) != 1 {
		t.Fatalf("%d lines, want one:\n%s", len(messages), o.stderr)
	}
	return messages[0]
}

// wantJSONError is wantError for a command that was asked for JSON.
func wantJSONError(t *testing.T, o outcome, code int, words ...string) {
	t.Helper()
	wantError(t, o, code, words...)
	var e struct {
		SchemaVersion, ExitCode int
		Error                   string
	}
	if err := json.Unmarshal([]byte(theMessage(t, o)), &e); err != nil {
		t.Fatalf("%v in\n%s", err, o.stderr)
	}
	if e.SchemaVersion != 1 || e.ExitCode != code || e.Error == "" {
		t.Errorf("got %+v, want schema version 1 and exit code %d", e, code)
	}
}

// wantNothing fails the test if the repository, which is a directory, has come to be.
func (r *repository) wantNothing(t *testing.T) {
	t.Helper()
	if _, err := os.Lstat(r.url); !os.IsNotExist(err) {
		t.Errorf("%s was made (%v)", r.url, err)
	}
}

// contents returns what the repository, which is a directory, holds, by key.
func (r *repository) contents(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(r.url, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, r.url+"/")] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// topicNames returns the topics that users of the cluster have made.
func topicNames(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	a := admin(t, c)
	defer a.Close()
	topics, err := a.ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(topics.Names(), " ")
}

// writeFile writes a file that goes with the test and returns its path.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBadCommandLine(t *testing.T) {
	r := newRepository(t)
	file := writeFile(t, "backupd.yaml", "version: 1\nkafka:\n  bootstrapServer: [a:1]\n  sasl:\n    mechanism: PLAIN\n    password: "+secret+
		"\nsegment:\n  maxBytes: 64\n  maxAge: ten\nstore:\n  url: ${OFFSITE_TEST_UNSET}\nlog: {level: loud}\n")
	for _, test := range []struct {
		name, program string
		args          []string
		words         []string
	}{
		{"no such command", "backupd", []string{"statsu"}, []string{"statsu", `"status"`}},
		{"no such flag", "restored", []string{"list", "--tpoics", "x"}, []string{"--tpoics", "restored list --help"}},
		{"argument too many", "backupd", []string{"once", "orders"}, []string{"orders", "backupd once --help"}},
		{"everything wrong with a file", "backupd", []string{"run", "-c", file}, []string{
			file, `line 3: unknown key "kafka.bootstrapServer"; did you mean "bootstrapServers"?`, `line 6: unknown key "kafka.sasl.password"`, "passwordFile",
			`line 8: segment.maxBytes: "64"`, "64MiB", `line 9: segment.maxAge: "ten"`, "line 11: store.url: environment variable OFFSITE_TEST_UNSET is not set",
			"kafka.sasl.username: is missing", `log.level: "loud"`,
		}},
		{"no such file", "backupd", []string{"once", "-c", "/nowhere/backupd.yaml"}, []string{"/nowhere/backupd.yaml", "no such file"}},
		{"no cluster", "backupd", []string{"once"}, []string{"--bootstrap-server", "kafka.bootstrapServers"}},
		{"bad pattern", "backupd", []string{"once", "--bootstrap-server", "127.0.0.1:1", "--topics", "/(/"}, []string{"--topics", "/(/", "missing closing )"}},
		{"bad override", "backupd", []string{"once", "-X", "segment.maxAge=5"}, []string{"segment.maxAge", "5", "10s"}},
		{"bad address", "backupd", []string{"once", "--bootstrap-server", "localhost:port"}, []string{"localhost:port", "HOST:PORT"}},
		{"bad rename", "restored", []string{"plan", "--bootstrap-server", "127.0.0.1:1", "--rename", "a"}, []string{"--rename", "OLD=NEW"}},
		{"rename twice", "restored", []string{"plan", "--bootstrap-server", "127.0.0.1:1", "--rename", "a=b", "--rename", "a=c"}, []string{"--rename", "a", "twice"}},
		{"bad if-exists", "restored", []string{"run", "--if-exists", "overwrite"}, []string{"--if-exists", "overwrite", "refuse", "append"}},
		{"bad duration", "restored", []string{"run", "--hold-retention", "5"}, []string{"--hold-retention", "5"}},
		{"bad offset", "restored", []string{"offsets", "--offset", "orders:x:1"}, []string{"--offset", "orders:x:1", "TOPIC:PARTITION:OFFSET"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := r.in(t)
			wantError(t, r.try(test.program, nil, test.args...), exitUsage, test.words...)
			r.wantNothing(t)
		})
	}
}
