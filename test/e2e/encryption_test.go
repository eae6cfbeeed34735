//go:build e2e

package e2e_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// canary is what nobody must find in an encrypted repository: in the name of a topic, a record, a group, and what it
// has committed.
const canary = "canary-3e9f"

// identity is a file that backupd has made, and its public part.
type identity struct{ file, recipient string }

func newIdentity(t testing.TB, name string) identity {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	r := &repository{t: t}
	made := decodeJSON[struct{ Recipient string }](t, r.run("backupd", nil, "key", "generate", "--file", file, "-o", "json"))
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v", file, info.Mode())
	}
	return identity{file, made.Recipient}
}

// secret returns the line of the file that must stay one.
func (i identity) secret(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(i.file)
	must(t, err)
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "AGE-SECRET-KEY-1") {
			return strings.TrimSpace(line)
		}
	}
	t.Fatalf("%s has no key", i.file)
	return ""
}

// as are the flags with which a program has the identity.
func (i identity) as(args ...string) []string {
	return append(args, "-X", "encryption.identityFile="+i.file)
}

// The daemon is killed, goes on, and keys change below it. What is restored is what is in the source, and in a backup that
// is not encrypted; nobody without the right key sees anything.
func TestEncryption(t *testing.T) {
	t.Parallel()
	rng := random(t)
	c := cluster.Start(t, cluster.Options{})
	reader, second, daemon, stranger := newIdentity(t, "reader"), newIdentity(t, "second"), newIdentity(t, "daemon"), newIdentity(t, "stranger")
	load := startTraffic(t, c, rng)
	createTopic(t, c, canary, 1, nil)
	produce(t, producer(t, c, kgo.ProducerBatchCompression(kgo.NoCompression())), &kgo.Record{Topic: canary, Key: []byte(canary + "-key"), Value: []byte(canary + "-value")})
	commitCanary(t, c)

	r := newRepository(t)
	run := append(daemon.as("run", "--log-level", "debug"), "-X", "encryption.recipients=["+reader.recipient+"]")
	logs := ""
	for range 2 {
		p := r.start("backupd", c, append(run, smallSeals...)...)
		before := r.objects("log")
		eventually(t, "entries", func() bool { return r.objects("log") > before+2 })
		must(t, p.Kill())
		logs += p.wait(t).stderr
	}
	before := r.objects("log")
	run[len(run)-1] = "encryption.recipients=[" + reader.recipient + "," + second.recipient + "]" // without this, the daemon ends when second is added
	p := r.start("backupd", c, append(run, smallSeals...)...)
	eventually(t, "the daemon goes on", func() bool { return r.objects("log") > before+2 })
	if strings.Count(r.listed(reader), "\n") <= 3 {
		t.Error("restored list has few points")
	}
	r.run("backupd", nil, reader.as("key", "add", second.recipient, "--comment", "the other office")...)
	o := r.run("backupd", nil, daemon.as("key", "retire", reader.recipient)...)
	if !strings.Contains(o.stdout, "generation 1") {
		t.Errorf("key retire says %s", o.stdout)
	}
	if audit := r.run("backupd", nil, second.as("audit")...).stdout; !strings.Contains(audit, "reader "+second.recipient+` ("the other office") was added to generations [0]`) ||
		!strings.Contains(audit, "reader "+reader.recipient) || !strings.Contains(audit, "is left out from generation 1 on") {
		t.Errorf("the audit says\n%s", audit)
	}
	before = r.objects("data")
	eventually(t, "the daemon captures with the new keys", func() bool { return r.objects("data") > before+3 })
	load.stop()
	logs += p.stop(t).stderr
	r.run("backupd", c, daemon.as("once", "-X", "encryption.recipients=["+second.recipient+"]")...)

	plain := newRepository(t)
	plain.backup(c)
	if found := plain.find(t, canary); len(found) == 0 {
		t.Error("the canary is not in the repository that is not encrypted: the test tests nothing")
	}
	if found := r.find(t, canary, "traffic-"); len(found) > 0 {
		t.Errorf("the canary, or the name of a topic, is in %v", found)
	}
	for _, i := range []identity{reader, second, daemon} {
		if strings.Contains(logs, i.secret(t)) || len(r.find(t, i.secret(t))) > 0 {
			t.Errorf("the secret of %s has been written down", i.file)
		}
	}

	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"no identity", []string{"verify"}, "is encrypted, and no identity is given"},
		{"a writer's", daemon.as("verify"), "is a writer's, which reads the log but no record"},
		{"a retired one", reader.as("verify"), "was retired"},
		{"another one", stranger.as("verify"), "is none of those that open generation 0"},
	} {
		if o := r.expect(exitRefused, "restored", nil, test.args...); !strings.Contains(o.stderr, test.want) || !strings.Contains(o.stderr, "OFFSITE_IDENTITY") {
			t.Errorf("with %s: %s", test.name, o.stderr)
		}
	}
	if o := plain.expect(exitRefused, "restored", nil, reader.as("list")...); !strings.Contains(o.stderr, "is not encrypted, but encryption.identityFile is given") {
		t.Errorf("a repository that is not encrypted: %s", o.stderr)
	}
	if o := plain.expect(exitRefused, "backupd", c, daemon.as("once", "-X", "encryption.recipients=["+reader.recipient+"]")...); !strings.Contains(o.stderr, "is not encrypted, but encryption.recipients is given") {
		t.Errorf("a repository that is not encrypted: %s", o.stderr)
	}
	if o := r.expect(exitRefused, "backupd", c, daemon.as("once", "-X", "encryption.recipients=["+stranger.recipient+"]")...); !strings.Contains(o.stderr, second.recipient+" could read what is written") {
		t.Errorf("a reader that the configuration does not name: %s", o.stderr)
	}

	for _, command := range []string{"plan", "run"} { // before it creates anything
		o := r.expect(exitRefused, "restored", c, daemon.as(command, "--topics", canary, "--rename", canary+"=unreadable")...)
		if !strings.Contains(o.stdout+o.stderr, "is a writer's, which reads the log but no record") {
			t.Errorf("%s with a writer's identity: %s%s", command, o.stdout, o.stderr)
		}
	}
	if there, err := admin(t, c).ListTopics(t.Context()); err != nil || there.Has("unreadable") {
		t.Errorf("a refused restore leaves a topic behind (%v)", err)
	}
	r.run("restored", nil, second.as("verify")...)
	// Whoever can read no record merges sealed blocks, and copies them, as they are.
	if o := r.run("backupd", nil, daemon.as("merge", "-X", "merge.minAge=0s")...); strings.HasPrefix(o.stdout, "0 segments") || !strings.Contains(o.stdout, "merged") {
		t.Errorf("merge says %s", o.stdout)
	}
	// Nor has it to read one to take away what is not kept, and to say what is damaged.
	for _, args := range [][]string{{"prune", "-X", "retention.keep.last=2", "-X", "retention.grace=0s", "--force"}, {"sweep", "--older-than", "0s", "--all"}, {"audit"}} {
		r.run("backupd", nil, daemon.as(args...)...)
	}
	for _, level := range []string{"index", "digest"} {
		r.run("restored", nil, daemon.as("verify", "--level", level)...)
	}
	if o := r.expect(exitRefused, "restored", nil, daemon.as("verify", "--level", "decode")...); !strings.Contains(o.stderr, "is a writer's, which reads the log but no record") {
		t.Errorf("the daemon verifies records: %s", o.stderr)
	}
	r.run("restored", c, second.as("verify", "--level", "replay", "--topics", canary)...)
	segments, err := filepath.Glob(filepath.Join(r.url, "data", "*", "*"))
	must(t, err)
	spoil(t, segments[0], flipFirst)
	r.expect(exitDamaged, "restored", nil, second.as("verify")...)
	if o := r.run("backupd", c, daemon.as("repair")...); !strings.Contains(o.stdout, "moved to a new segment") { // nobody can make the same sealed bytes again
		t.Errorf("repair says %s", o.stdout)
	}
	replica := newRepository(t)
	r.run("backupd", nil, daemon.as("copy", "--to", replica.url)...)
	for _, of := range []*repository{r, replica} {
		of.run("restored", nil, second.as("verify")...)
		if found := of.find(t, canary, "traffic-"); len(found) > 0 {
			t.Errorf("after a merge, the canary, or the name of a topic, is in %v", found)
		}
	}
	r.env = []string{"OFFSITE_IDENTITY=" + second.secret(t)}
	for topic := range trafficTopics {
		r.restore(c, "--topics", topic, "--rename", topic+"="+topic+"-sealed")
		plain.restore(c, "--topics", topic, "--rename", topic+"="+topic+"-plain")
		want := readTopic(t, c, topic)
		requireSame(t, want, readTopic(t, c, topic+"-sealed"))
		requireSame(t, want, readTopic(t, c, topic+"-plain"))
	}
}

// commitCanary commits an offset of a group, and something beside it.
func commitCanary(t testing.TB, c *cluster.Cluster) {
	t.Helper()
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: canary, At: 1, LeaderEpoch: -1, Metadata: canary + "-metadata"})
	commit(t, c, canary+"-group", offsets)
}

// listed is what the list of recovery points says.
func (r *repository) listed(i identity) string {
	r.t.Helper()
	return r.try("restored", nil, i.as("list")...).stdout
}

// find returns the objects in which one of the texts is, and those whose names have one.
func (r *repository) find(t testing.TB, texts ...string) (found []string) {
	t.Helper()
	must(t, filepath.WalkDir(r.url, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, text := range texts {
			if bytes.Contains(b, []byte(text)) || strings.Contains(strings.TrimPrefix(path, r.url), text) {
				found = append(found, path)
			}
		}
		return err
	}))
	return found
}

// A reader that the log is given while the daemon runs, and that its configuration does not name, ends it before anything is
// sealed for that reader.
func TestForeignReaderEndsTheDaemon(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	reader, foreign, daemon := newIdentity(t, "reader"), newIdentity(t, "foreign"), newIdentity(t, "daemon")
	load := startTraffic(t, c, random(t))
	r := newRepository(t)
	p := r.start("backupd", c, append(daemon.as("run", "-X", "encryption.recipients=["+reader.recipient+"]"), smallSeals...)...)
	eventually(t, "entries", func() bool { return r.objects("log") > 3 })
	r.run("backupd", nil, reader.as("key", "add", foreign.recipient)...)
	o := p.wait(t)
	load.stop()
	if o.code != exitRefused || !strings.Contains(o.stderr, foreign.recipient+" could read what is written, and encryption.recipients does not name it") {
		t.Errorf("the daemon ends with code %d: %s", o.code, o.stderr)
	}
	audit := r.run("backupd", nil, reader.as("audit")...).stdout
	_, row, _ := strings.Cut(audit, "key-add")
	_, head, _ := strings.Cut(audit, "; head ")
	head, _, _ = strings.Cut(head, ":")
	if !strings.Contains(row, foreign.recipient) || !strings.Contains(audit, "  "+head+"  ") || strings.Index(audit, "  "+head+"  ") > strings.Index(audit, "key-add") {
		t.Errorf("the keys are not the last entry:\n%s", audit)
	}
}
