package golden_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/internal/store/dir"
)

const (
	firstEntry  = "log/00000000/000000000001"
	secondEntry = "log/00000000/000000000002"
)

// damage is one way in which a repository can be damaged. Objects are named by their keys; segments are called SEGMENT1
// and SEGMENT2 in the order of the entries that name them, but for those that are removed or quarantined.
type damage struct {
	name  string
	do    func(c *copied)
	blame string // what must be named as damaged
}

var damages = []damage{
	{"descriptor gone", func(c *copied) { c.remove("repository.json") }, "repository.json"},
	{"descriptor flipped", func(c *copied) { c.flip("repository.json", 40) }, "repository.json"},
	{"descriptor cut", func(c *copied) { c.cut("repository.json", -2) }, "repository.json"},
	{"descriptor empty", func(c *copied) { c.cut("repository.json", 0) }, "repository.json"},
	{"descriptor of another repository", func(c *copied) { c.replace("repository.json", "repository.json") }, firstEntry},
	{"entry gone", func(c *copied) { c.remove(firstEntry) }, firstEntry},
	{"entry's magic flipped", func(c *copied) { c.flip(firstEntry, 0) }, firstEntry},
	{"entry's header flipped", func(c *copied) { c.flip(secondEntry, 30) }, secondEntry},
	{"entry's time flipped", func(c *copied) { c.flip(secondEntry, 87) }, secondEntry},
	{"entry's body flipped", func(c *copied) { c.flip(firstEntry, 120) }, firstEntry},
	{"entry's digest flipped", func(c *copied) { c.flip(secondEntry, -1) }, secondEntry},
	{"entry cut", func(c *copied) { c.cut(secondEntry, -1) }, secondEntry},
	{"entry cut in its header", func(c *copied) { c.cut(firstEntry, 90) }, firstEntry},
	{"entry empty", func(c *copied) { c.cut(firstEntry, 0) }, firstEntry},
	{"entry too long", func(c *copied) { c.lengthen(secondEntry) }, secondEntry},
	{"entries swapped", func(c *copied) { c.swap(firstEntry, secondEntry) }, firstEntry},
	{"entry of another repository", func(c *copied) { c.replace(firstEntry, firstEntry) }, firstEntry},
	{"later entry of another repository", func(c *copied) { c.replace(secondEntry, secondEntry) }, secondEntry},
	{"segment gone", func(c *copied) { c.remove("SEGMENT1") }, "SEGMENT1"},
	{"segment's magic flipped", func(c *copied) { c.flip("SEGMENT1", 7) }, "SEGMENT1"},
	{"segment's first block flipped", func(c *copied) { c.flip("SEGMENT2", 8) }, "SEGMENT2"},
	{"segment's footer flipped", func(c *copied) { c.flip("SEGMENT1", -17) }, "SEGMENT1"},
	{"segment's footer length flipped", func(c *copied) { c.flip("SEGMENT2", -13) }, "SEGMENT2"},
	{"segment's footer CRC flipped", func(c *copied) { c.flip("SEGMENT1", -9) }, "SEGMENT1"},
	{"segment's end flipped", func(c *copied) { c.flip("SEGMENT1", -1) }, "SEGMENT1"},
	{"segment cut", func(c *copied) { c.cut("SEGMENT1", -1) }, "SEGMENT1"},
	{"segment cut in its blocks", func(c *copied) { c.cut("SEGMENT2", 100) }, "SEGMENT2"},
	{"segment empty", func(c *copied) { c.cut("SEGMENT1", 0) }, "SEGMENT1"},
	{"segment too long", func(c *copied) { c.lengthen("SEGMENT2") }, "SEGMENT2"},
	{"segments swapped", func(c *copied) { c.swap("SEGMENT1", "SEGMENT2") }, "SEGMENT1"},
	{"segment of another repository", func(c *copied) { c.replace("SEGMENT1", "SEGMENT1") }, "SEGMENT1"},
}

// copied is a copy of a golden repository that may be damaged.
type copied struct {
	t     testing.TB
	dir   string
	other string // another golden repository
	names *strings.Replacer
}

// damagedCopy copies the repository in a golden folder and damages the copy. It returns the key to blame.
func damagedCopy(t testing.TB, folder, other string, d damage) (dir, blame string) {
	t.Helper()
	c := &copied{t: t, dir: filepath.Join(t.TempDir(), "repository"), other: filepath.Join(other, "repository")}
	if err := os.CopyFS(c.dir, os.DirFS(filepath.Join(folder, "repository"))); err != nil {
		t.Fatal(err)
	}
	c.names = segmentNames(t, folder)
	d.do(c)
	return c.dir, c.names.Replace(d.blame)
}

// segmentNames turns the names of the table into keys.
func segmentNames(t testing.TB, folder string) *strings.Replacer {
	t.Helper()
	var pairs []string
	repo := open(t, folder)
	newest, err := repo.Read(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = repo.Read(t.Context(), 0, func(_ *manifest.State, e *manifest.Entry) error {
		for i := range e.Segments {
			if !newest.Readable(e.Writer, e.Segments[i].Counter) || newest.Quarantined(e.Writer, e.Segments[i].Counter) {
				continue
			}
			pairs = append(pairs, fmt.Sprint("SEGMENT", len(pairs)/2+1), manifest.SegmentKey(e.Writer, e.Segments[i].Counter))
		}
		return nil
	})
	if err != nil || len(pairs) < 4 {
		t.Fatalf("%s: segments %v, %v", folder, pairs, err)
	}
	return strings.NewReplacer(pairs...)
}

func (c *copied) path(name string) string { return filepath.Join(c.dir, c.names.Replace(name)) }

func (c *copied) read(path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

func (c *copied) write(name string, b []byte) {
	if err := os.WriteFile(c.path(name), b, 0o644); err != nil {
		c.t.Fatal(err)
	}
}

func (c *copied) remove(name string) {
	if err := os.Remove(c.path(name)); err != nil {
		c.t.Fatal(err)
	}
}

// flip changes a bit of the byte at an offset, which counts from the end if it is negative.
func (c *copied) flip(name string, at int) {
	b := c.read(c.path(name))
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	c.write(name, b)
}

// cut shortens an object to a length, or by as much if it is negative.
func (c *copied) cut(name string, length int) {
	b := c.read(c.path(name))
	if length < 0 {
		length += len(b)
	}
	c.write(name, b[:length])
}

func (c *copied) lengthen(name string) { c.write(name, append(c.read(c.path(name)), 0)) }

func (c *copied) swap(a, b string) {
	x, y := c.read(c.path(a)), c.read(c.path(b))
	if bytes.Equal(x, y) {
		c.t.Fatalf("%s and %s are the same", a, b)
	}
	c.write(a, y)
	c.write(b, x)
}

// replace puts an object of the other repository in the place of one.
func (c *copied) replace(name, by string) {
	names := segmentNames(c.t, filepath.Dir(c.other))
	c.write(name, c.read(filepath.Join(c.other, names.Replace(by))))
}

// Whatever is damaged in a golden repository is found, and named.
func TestDamaged(t *testing.T) {
	folders := repositories(t)
	for i, folder := range folders {
		other := folders[(i+1)%len(folders)]
		for _, d := range damages {
			t.Run(filepath.Base(folder)+"/"+d.name, func(t *testing.T) {
				where, blame := damagedCopy(t, folder, other, d)
				if found := verify(t, where); found != blame {
					t.Errorf("damage is found in %q, want %q", found, blame)
				}
			})
		}
	}
}

// verify returns the key of the first object that is found to be damaged.
func verify(t testing.TB, where string) string {
	t.Helper()
	st, err := dir.Open(where)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	repo, err := manifest.Open(t.Context(), st)
	var damaged *manifest.Damage
	if errors.As(err, &damaged) {
		return damaged.Key
	}
	if err != nil {
		t.Fatal(err)
	}
	report, err := source.Verify(t.Context(), repo, source.Scope{Level: manifest.LevelDecode}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Damages) == 0 {
		return ""
	}
	return report.Damages[0].Key
}
