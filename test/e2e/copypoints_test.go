//go:build e2e

package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// What two recovery points need is copied, by copiers that are killed, out of an encrypted repository that was merged: the copy has these points and no
// others, less data, and yields what the repository yields; nothing is captured into it.
func TestCopyOfPoints(t *testing.T) {
	t.Parallel()
	rng := random(t)
	c := cluster.Start(t, cluster.Options{})
	reader, writer := newIdentity(t, "reader"), newIdentity(t, "writer")
	encrypted := func() *repository {
		r := newRepository(t)
		r.reader, r.writer = &reader, &writer
		return r
	}
	r, chosen := encrypted(), encrypted()
	for _, topic := range []string{"kept", "later"} {
		createTopic(t, c, topic, 2, nil)
	}
	client := producer(t, c)
	made := make(map[string]uint64)
	for i := range 9 {
		for n := range 40 {
			produce(t, client, &kgo.Record{Topic: "kept", Partition: int32(n % 2), Value: fmt.Appendf(nil, "%d-%d", i, n)})
			if i > 4 {
				produce(t, client, &kgo.Record{Topic: "later", Partition: int32(n % 2), Value: fmt.Appendf(nil, "%d-%d", i, n)})
			}
		}
		name := fmt.Sprint("p-", i)
		made[name] = r.point(c, "create", name).Point
		if i == 3 {
			r.merge("-X", "merge.minAge=0s")
		}
	}
	r.run("backupd", nil, "point", "pin", "p-7")

	args := []string{"copy", "--to", chosen.url, "--points", "p-4,p-1"}
	for range 4 {
		p := r.start("backupd", nil, args...)
		time.Sleep(upTo(rng, 300*time.Millisecond))
		must(t, p.Kill())
		p.outcome(t)
	}
	copied := decodeJSON[struct {
		Points []uint64
		Entry  uint64
	}](t, r.run("backupd", nil, append(args, "-o", "json")...))
	if want := []uint64{made["p-1"], made["p-4"]}; !slices.Equal(copied.Points, want) || !slices.Equal(slices.Sorted(slices.Values(chosen.points())), want) || copied.Entry == 0 {
		t.Errorf("copied %+v, in the copy are %v, want %v", copied, chosen.points(), want)
	}
	if all, some := r.objects("data"), chosen.objects("data"); some >= all || some == 0 {
		t.Errorf("the copy has %d segments of %d", some, all)
	}
	if o := r.run("backupd", nil, args...); !strings.Contains(o.stdout, "0 segments") {
		t.Errorf("the same copy once more says %s", o.stdout)
	}
	if o := r.expect(exitUsage, "backupd", nil, append(args, "--verify")...); !strings.Contains(o.stderr, "restored verify") {
		t.Errorf("an archive that is to be read back says %s", o.stderr)
	}
	if o := r.expect(exitRefused, "backupd", nil, "copy", "--to", chosen.url, "--points", "p-2"); !strings.Contains(o.stderr, "give another place") {
		t.Errorf("other points say %s", o.stderr)
	}
	r.expect(exitRefused, "backupd", nil, "copy", "--to", encrypted().url, "--points", "p-11")

	if o := chosen.run("restored", nil, "verify", "--level", "decode"); !strings.Contains(o.stdout, "an archive") {
		t.Errorf("verify says %s", o.stdout)
	}
	for _, point := range []string{"p-1", "p-4"} {
		r.restore(c, "--at", point, "--topics", "kept", "--rename", "kept=of-all-"+point)
		chosen.restore(c, "--at", point, "--topics", "kept", "--rename", "kept=of-chosen-"+point)
		requireSame(t, readTopic(t, c, "of-all-"+point), readTopic(t, c, "of-chosen-"+point))
	}
	chosen.expect(exitRefused, "restored", c, "plan", "--at", "p-7")
	for _, args := range [][]string{{"once"}, {"run"}, {"point", "create", "p-12"}} {
		if o := chosen.expect(exitRefused, "backupd", c, args...); !strings.Contains(o.stderr, "what came after them is not there") {
			t.Errorf("backupd %q on the copy says %s", args, o.stderr)
		}
	}
	chosen.run("backupd", nil, "point", "hold", "p-4")
	chosen.run("backupd", nil, "prune", "-X", "retention.keep.last=1", "-X", "retention.grace=0s", "-X", "retention.maxRemovedShare=1")
	chosen.run("restored", nil, "verify", "--level", "decode")
}
