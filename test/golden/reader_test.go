//go:build e2e

package golden_test

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// reader is test/reader/Reader.java, compiled.
type reader struct {
	java, classPath string
}

func compileReader(t *testing.T) *reader {
	t.Helper()
	java, jars, err := cluster.JVM(t.Context(), cluster.Kafka43)
	if err != nil {
		t.Fatal(err)
	}
	all, err := filepath.Glob(filepath.Join(jars, "*.jar"))
	if err != nil {
		t.Fatal(err)
	}
	classes, classPath := t.TempDir(), strings.Join(all, ":")
	compiler := exec.CommandContext(t.Context(), java, "-m", "jdk.compiler/com.sun.tools.javac.Main",
		"-Xlint:all,-path", "-Werror", "-cp", classPath, "-d", classes, "../reader/Reader.java")
	if out, err := compiler.CombinedOutput(); err != nil {
		t.Fatalf("compile the reader: %v\n%s", err, out)
	}
	return &reader{java, classes + ":" + classPath}
}

// read runs the reader. It returns what the reader prints and its exit code.
func (r *reader) read(t *testing.T, args ...string) (stdout []byte, stderr string, code int) {
	t.Helper()
	args = append([]string{"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
		"-Djava.io.tmpdir=" + t.TempDir(), "-cp", r.classPath, "Reader"}, args...)
	cmd := exec.CommandContext(t.Context(), r.java, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.Bytes(), errs.String(), cmd.ProcessState.ExitCode()
}

// requireLines runs the reader and compares what it prints.
func (r *reader) requireLines(t *testing.T, want []byte, args ...string) {
	t.Helper()
	got, stderr, code := r.read(t, args...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	requireSame(t, got, want)
}

// committedLines returns the lines of the offsets that the log of groups tells.
func committedLines(lines []byte) []byte {
	var list []byte
	for line := range bytes.Lines(lines) {
		if bytes.HasPrefix(line, []byte(`{"kind":"offset"`)) && !bytes.Contains(line, []byte(`"type":"share"`)) {
			list = append(list, line...)
		}
	}
	return list
}

// A reader that shares no code with ours, written from docs/format.md, reads every golden repository alike.
func TestIndependentReader(t *testing.T) {
	r := compileReader(t)
	for _, folder := range repositories(t) {
		for _, want := range expectations(t, folder) {
			t.Run(filepath.Base(folder)+" point "+want.point, func(t *testing.T) {
				args := []string{filepath.Join(folder, "repository")}
				if want.point != "" {
					args = append(args, want.point)
				}
				r.requireLines(t, want.lines, args...)
			})
		}
	}
	for _, id := range []string{"2", "9", "5"} { // of the golden points: two that are deleted, and an entry that is no point
		if _, stderr, code := r.read(t, "v1/points/repository", id); code != 2 || stderr == "" {
			t.Errorf("entry %s: exit code %d: %s", id, code, stderr)
		}
	}
	for _, point := range []string{"1", "2"} { // need what is lost
		if stdout, stderr, code := r.read(t, filepath.Join(quarantinedFolder, "repository"), point); code != 1 || !strings.Contains(stderr, "are lost") {
			t.Errorf("point %s: exit code %d with %d bytes of output: %s", point, code, len(stdout), stderr)
		}
	}
	folders := repositories(t)
	for _, folder := range folders {
		for point, want := range metadataOf(t, folder) {
			t.Run(filepath.Base(folder)+" metadata of point "+point, func(t *testing.T) {
				r.requireLines(t, want, filepath.Join(folder, "repository"), point, "metadata")
			})
		}
	}
	for _, folder := range folders {
		times := groupsOf(t, folder)
		for at, want := range times {
			t.Run(filepath.Base(folder)+" groups at "+source.Clock(at), func(t *testing.T) {
				r.requireLines(t, want, filepath.Join(folder, "repository"), "groups", strconv.FormatInt(at, 10))
			})
		}
		if len(times) == 0 {
			continue
		}
		for _, point := range expectations(t, folder) {
			t.Run(filepath.Base(folder)+" groups of point "+point.point, func(t *testing.T) {
				id := cmp.Or(point.point, strconv.Itoa(len(expectations(t, folder))))
				r.requireLines(t, committedLines(point.lines), filepath.Join(folder, "repository"), id, "groups")
			})
		}
	}
	for _, d := range damages {
		t.Run("damaged, "+d.name, func(t *testing.T) {
			where, blame := damagedCopy(t, folders[0], folders[1], d)
			stdout, stderr, code := r.read(t, where)
			if code != 1 || len(stdout) > 0 || !strings.HasPrefix(stderr, blame+": ") {
				t.Errorf("exit code %d with %d bytes of output and %q, want 1, none and %s", code, len(stdout), stderr, blame)
			}
		})
	}
}

// The same reader, with what the JDK has of cryptography, reads the encrypted repository, and refuses it where it is not as it was sealed and signed.
func TestIndependentReaderOfSealed(t *testing.T) {
	r := compileReader(t)
	public, err := os.ReadFile(filepath.Join(sealedFolder, "signing.txt"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("READER_IDENTITY", filepath.Join(sealedFolder, "reader.txt"))
	t.Setenv("READER_PUBLIC_KEY", string(public))
	where := filepath.Join(sealedFolder, "encrypted")
	for _, want := range expectations(t, sealedFolder) {
		args := []string{where}
		if want.point != "" {
			args = append(args, want.point)
		}
		r.requireLines(t, want.lines, args...)
	}
	newest := manifest.LogKey(4) // the second keys
	for _, bad := range []struct {
		name  string
		do    func(c *copied)
		blame string
	}{
		{"an entry flipped", func(c *copied) { c.flip(secondEntry, 150) }, secondEntry},
		{"a signature flipped", func(c *copied) { c.flip(firstEntry, -1) }, firstEntry},
		{"keys flipped", func(c *copied) { c.flip(newest, 200) }, newest},
		{"older keys in the place of the newest", func(c *copied) { c.write(newest, c.read(c.path(firstEntry))) }, newest},
		{"not encrypted, it says", func(c *copied) {
			b := c.read(c.path("repository.json"))
			c.write("repository.json", bytes.Replace(b, []byte("  \"encryption\": \"age-x25519\",\n"), nil, 1))
		}, "repository.json"},
		{"a block flipped", func(c *copied) { c.flip("SEGMENT1", 9) }, "SEGMENT1"},
		{"a footer flipped", func(c *copied) { c.flip("SEGMENT1", -40) }, "SEGMENT1"},
	} {
		c := &copied{t: t, dir: filepath.Join(t.TempDir(), "repository"), names: strings.NewReplacer("SEGMENT1", liveSegment(t))}
		if err := os.CopyFS(c.dir, os.DirFS(where)); err != nil {
			t.Fatal(err)
		}
		bad.do(c)
		stdout, stderr, code := r.read(t, c.dir)
		if blame := c.names.Replace(bad.blame); code != 1 || len(stdout) > 0 || !strings.HasPrefix(stderr, blame+": ") {
			t.Errorf("%s: exit code %d with %d bytes of output and %q, want 1, none and %s", bad.name, code, len(stdout), stderr, blame)
		}
	}
	t.Setenv("READER_IDENTITY", filepath.Join(sealedFolder, "writer.txt"))
	if stdout, stderr, code := r.read(t, where); code != 1 || len(stdout) > 0 || !strings.Contains(stderr, "wrapped for others") {
		t.Errorf("the writer: exit code %d: %s", code, stderr)
	}
}

// liveSegment is the key of a segment of the encrypted repository that is read.
func liveSegment(t *testing.T) (key string) {
	t.Helper()
	repo := openSealed(t, filepath.Join(sealedFolder, "encrypted"), "reader.txt")
	newest, err := repo.Read(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Read(t.Context(), 0, func(_ *manifest.State, e *manifest.Entry) error {
		for i := range e.Segments {
			if newest.Readable(e.Writer, e.Segments[i].Counter) {
				key = manifest.SegmentKey(e.Writer, e.Segments[i].Counter)
			}
		}
		return nil
	}); err != nil || key == "" {
		t.Fatalf("segment %q, %v", key, err)
	}
	return key
}
