//go:build e2e

package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

func TestRepositoryOfAnotherCluster(t *testing.T) {
	t.Parallel()
	mine, other := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	fill(t, mine, 3, "orders")
	fill(t, other, 3, "orders")
	r := newRepository(t)
	r.backup(mine)
	before := r.contents(t)
	for _, command := range []string{"once", "run"} {
		wantError(t, r.try("backupd", other, command), exitRefused, r.url, "another Kafka cluster", mine.ID(), other.ID(), "repository of its own")
	}
	wantJSONError(t, r.try("backupd", other, "once", "-o", "json"), exitRefused, mine.ID())
	r.wantUnchanged(t, before)
}

func TestNoRepository(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	empty, foreign := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(foreign, "notes.txt"), []byte("mine"), 0o600))
	for name, url := range map[string]string{"absent": filepath.Join(empty, "absent"), "empty": empty, "something else": foreign} {
		t.Run(name, func(t *testing.T) {
			r := &repository{t: t, url: url}
			for _, args := range [][]string{{"list"}, {"show"}, {"verify"}, {"offsets"}} {
				wantError(t, r.try("restored", nil, args...), exitNoRepository, url, "backupd once")
			}
			for _, args := range [][]string{{"plan"}, {"run", "--yes"}} {
				wantError(t, r.try("restored", c, args...), exitNoRepository, url, "backupd once")
			}
			wantError(t, r.try("backupd", nil, "status"), exitNoRepository, url)
			wantJSONError(t, r.try("restored", nil, "list", "-o", "json"), exitNoRepository, url)
			wantJSONError(t, r.try("restored", nil, "offsets", "--format", "json"), exitNoRepository, url)
		})
	}
	if entries, err := os.ReadDir(empty); err != nil || len(entries) > 0 {
		t.Errorf("looking made %v, %v", entries, err)
	}
	if topics := topicNames(t, c); topics != "" {
		t.Errorf("there are topics: %s", topics)
	}
}

func TestRepositoryWithoutPoint(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	fill(t, c, 3, "orders")
	r := newRepository(t)
	r.backup(c)
	must(t, os.RemoveAll(filepath.Join(r.url, "log")))
	must(t, os.RemoveAll(filepath.Join(r.url, "data")))
	for _, args := range [][]string{{"show"}, {"offsets"}} {
		wantError(t, r.try("restored", nil, args...), exitRefused, "no such recovery point", "has none yet")
	}
	wantError(t, r.try("restored", c, "run", "--yes", "--rename", "orders=copy"), exitRefused, "no such recovery point", "has none yet")
	if o := r.run("backupd", nil, "status"); !strings.Contains(o.stdout, "none yet") {
		t.Errorf("status says\n%s", o.stdout)
	}
	r.run("restored", nil, "list")
	r.run("restored", nil, "verify")
}

func TestNewerFormat(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	fill(t, c, 3, "orders")
	r := newRepository(t)
	r.backup(c)
	file := filepath.Join(r.url, "repository.json")
	b, err := os.ReadFile(file)
	must(t, err)
	text := strings.Replace(string(b), `"format": 1,`, `"format": 2,`, 1)
	at := strings.Index(text, `"sha256": "`) + len(`"sha256": "`)
	blank := text[:at] + strings.Repeat("0", 64) + text[at+64:]
	sum := sha256.Sum256([]byte(blank))
	must(t, os.Chmod(file, 0o600))
	must(t, os.WriteFile(file, []byte(text[:at]+hex.EncodeToString(sum[:])+text[at+64:]), 0o600))
	before := r.contents(t)
	for _, o := range []outcome{
		r.try("backupd", c, "once"), r.try("backupd", c, "run"), r.try("backupd", nil, "status"), r.try("restored", nil, "list"),
		r.try("restored", nil, "verify"), r.try("restored", c, "run", "--yes", "--rename", "orders=copy"),
	} {
		wantError(t, o, exitRefused, r.url, "format 2", "format 1", "version of this program")
	}
	r.wantUnchanged(t, before)
}

// Damage of each type of object is named and nothing is restored from it.
func TestDamagedRepository(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	fill(t, c, 3, "orders")
	whole := newRepository(t)
	whole.backup(c)
	contents := whole.contents(t)
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	cut := func(b []byte) []byte { return b[:len(b)/2] }
	gone := func([]byte) []byte { return nil }
	for _, folder := range []string{"repository.json", "log/", "data/"} {
		key := slices.Sorted(maps.Keys(contents))[slices.IndexFunc(slices.Sorted(maps.Keys(contents)), func(k string) bool { return strings.HasPrefix(k, folder) })]
		for how, damage := range map[string]func([]byte) []byte{"flipped": flip, "cut": cut, "gone": gone} {
			t.Run(folder+" "+how, func(t *testing.T) {
				if folder == "log/" && how == "gone" {
					t.Log("the newest entry of a log has no successor to miss it: the repository is as it was before")
					return
				}
				r := newRepository(t)
				for k, v := range contents {
					path := filepath.Join(r.url, k)
					must(t, os.MkdirAll(filepath.Dir(path), 0o700))
					b := []byte(v)
					if k == key {
						b = damage(b)
					}
					if b != nil {
						must(t, os.WriteFile(path, b, 0o600))
					}
				}
				before := r.contents(t)
				verified := r.try("restored", nil, "verify")
				if verified.code != exitDamaged || !strings.Contains(verified.stdout+verified.stderr, key) {
					t.Errorf("verify ended with %d\n%s\n%s", verified.code, verified.stdout, verified.stderr)
				}
				wantError(t, r.try("restored", c, "run", "--yes", "--rename", "orders=copy"), exitDamaged, key, "damaged")
				if folder != "data/" { // which backupd does not read
					remedy := "restored verify"
					if folder == "repository.json" { // which verify cannot do without
						remedy = "backupd repair --from COPY"
					}
					wantError(t, r.try("backupd", nil, "status"), exitDamaged, key, "damaged", remedy)
					wantError(t, r.try("backupd", c, "once"), exitDamaged, key, "damaged")
					wantError(t, r.try("backupd", c, "run"), exitDamaged, key, "damaged")
				}
				r.wantUnchanged(t, before)
				if n := endOffsets(t, c, "copy"); n != 0 {
					t.Errorf("%d records were restored from a damaged repository", n)
				}
			})
		}
	}
}

// endOffsets returns the sum of a topic's end offsets, 0 for one that does not exist.
func endOffsets(t testing.TB, c *cluster.Cluster, topic string) (n int64) {
	t.Helper()
	a := admin(t, c)
	defer a.Close()
	ends, err := a.ListEndOffsets(t.Context(), topic)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return 0
	}
	must(t, err)
	for _, p := range ends[topic] {
		if errors.Is(p.Err, kerr.UnknownTopicOrPartition) {
			return 0
		}
		must(t, p.Err)
		n += p.Offset
	}
	return n
}
