//go:build e2e

package e2e_test

import (
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/dir"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// mergedJSON is what backupd merge prints.
type mergedJSON struct {
	Merges, Replaced, Written, Dropped, Damaged, Segments int
	Reencoded, Unproven                                   int
}

func (r *repository) merge(args ...string) mergedJSON {
	r.t.Helper()
	return decodeJSON[mergedJSON](r.t, r.run("backupd", nil, append([]string{"merge", "-o", "json", "-X", "merge.minAge=0s"}, args...)...))
}

// state is what the log of a repository in a directory adds up to.
func (r *repository) state() *manifest.State {
	r.t.Helper()
	state, err := r.open().Read(r.t.Context(), 0, nil)
	must(r.t, err)
	return state
}

// open opens it in this process, for reading.
func (r *repository) open() *manifest.Repository {
	r.t.Helper()
	st, err := dir.Open(r.url)
	must(r.t, err)
	r.t.Cleanup(func() { st.Close() })
	repo, err := manifest.Open(r.t.Context(), st)
	must(r.t, err)
	if r.reader != nil {
		id, err := crypt.ParseIdentity([]byte(r.reader.secret(r.t)))
		must(r.t, err)
		repo.Unlock(id)
	}
	return repo
}

// A capture merges beside its work, some of it re-encoding what it merges, and other mergers are killed meanwhile: what is restored is
// what the source has.
func TestMergeBesideCapture(t *testing.T) {
	t.Parallel()
	rng := random(t)
	source := cluster.Start(t, cluster.Options{})
	load := startTraffic(t, source, rng)
	r := newRepository(t)
	p := r.start("backupd", source, append([]string{"run", "-X", "merge.every=1s", "-X", "merge.minAge=0s", "-X", "merge.recompress=true", "-X", "snapshots.every=10"}, smallSeals...)...)
	for deadline := time.Now().Add(patience); r.objects("log") == 0 || r.state().Moved == 0 || r.objects("layout") == 0; time.Sleep(time.Second) {
		if p.ended() || time.Now().After(deadline) {
			t.Fatal("backupd has merged nothing, or no snapshot has a layout")
		}
	}
	for killed := 0; killed < 8; {
		m := r.start("backupd", nil, "merge", "-X", "merge.minAge=0s")
		time.Sleep(upTo(rng, 400*time.Millisecond))
		if !m.ended() {
			killed++
		}
		must(t, m.Kill())
		time.Sleep(upTo(rng, time.Second))
	}
	load.stop()
	p.stop(t)
	r.backup(source)

	planned := r.run("backupd", nil, "merge", "--dry-run", "-X", "merge.minAge=0s").stdout
	before := r.state()
	first, again := r.merge("--recompress"), r.merge("--recompress")
	after := r.state()
	t.Logf("planned: %sfirst %+v, then %+v; %d segments instead of %d", planned, first, again, after.SegmentCount, before.SegmentCount)
	if first.Replaced < 2 || first.Written == 0 || again.Written != 0 || first.Damaged+first.Dropped+first.Unproven > 0 || after.SegmentCount >= before.SegmentCount {
		t.Errorf("first %+v, then %+v; %d segments instead of %d", first, again, after.SegmentCount, before.SegmentCount)
	}
	r.run("restored", nil, "verify")
	target := cluster.Start(t, cluster.Options{})
	requireReencoded(t, r, target)
	r.restore(target)
	requireTraffic(t, source, target)
	r.compare(target, nil)
}

// requireReencoded wants some of what is restored to be stored otherwise than it was served, and decodes every batch. How much it is
// depends on which of the mergers were faster.
func requireReencoded(t *testing.T, r *repository, target *cluster.Cluster) {
	t.Helper()
	plan := decodeJSON[struct {
		Topics []struct {
			Source                string
			Bytes, ReencodedBytes int64
		}
	}](t, r.run("restored", target, "plan", "-o", "json"))
	all, reencoded := int64(0), int64(0)
	for _, topic := range plan.Topics {
		t.Logf("%s: %d of %d bytes are re-encoded", topic.Source, topic.ReencodedBytes, topic.Bytes)
		all, reencoded = all+topic.Bytes, reencoded+topic.ReencodedBytes
	}
	if reencoded == 0 || reencoded > all {
		t.Errorf("%d of %d bytes are re-encoded", reencoded, all)
	}
	r.run("restored", nil, "verify", "--level", "decode")
}
