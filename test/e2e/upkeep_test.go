//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// upkeep is a repository on which everything happens at once.
type upkeep struct {
	t              *testing.T
	r, replica     *repository
	source, target *cluster.Cluster
	rng            *rand.Rand
	notary         *notary

	audited  map[uint64]audited // what each point had when it was seen first
	pinned   map[uint64]bool
	daemon   *process
	flags    []string // of the daemon in this round
	chores   []*chore
	restore  *restoring // of this round
	restores int
	ends     map[string]int // by what and how it ended
}

// audited is what there is at a point.
type audited struct {
	Held   map[partitionOf]kept
	Groups map[string]map[manifest.OffsetKey]manifest.CommittedOffset
}

// chore is a process that looks after the repository, or reads it, and what is to happen to it.
type chore struct {
	*process
	what    string
	fate    string
	next    time.Time // when that happens; zero: never
	stopped bool
}

// restoring is a restore that is begun again and again until it is complete.
type restoring struct {
	point uint64
	args  []string
	topic func(name string) string
}

// Merges, prunes, sweeps, copies, verifications, pins, restores and a capture that merges and prunes by itself, all at once, are
// killed or paused at random. After each round every point that the policy keeps has exactly what it had before, and
// what the source had, in the copy as well; and a restore that had to begin again and again brings it back. Every other time the
// repository is encrypted.
func TestUpkeepKilled(t *testing.T) {
	t.Parallel()
	rng := random(t)
	u := &upkeep{
		t: t, r: newRepository(t), replica: newRepository(t), rng: rng, source: cluster.Start(t, cluster.Options{}), target: cluster.Start(t, cluster.Options{}),
		audited: make(map[uint64]audited), pinned: make(map[uint64]bool), ends: make(map[string]int),
	}
	if rng.IntN(2) == 0 {
		reader, writer := newIdentity(t, "reader"), newIdentity(t, "writer")
		for _, r := range []*repository{u.r, u.replica} {
			r.reader, r.writer = &reader, &writer
		}
		t.Log("the repository is encrypted")
	}
	u.notary = newNotary(t, u.source, rng)
	for range count(t, "OFFSITE_TEST_UPKEEPS", 6) {
		u.round()
		if t.Failed() {
			break
		}
	}
	for _, what := range slices.Sorted(maps.Keys(u.ends)) {
		t.Logf("%4d %s", u.ends[what], what)
	}
	t.Logf("%d points seen, %d pinned, %d restores complete, %d transactions aborted", len(u.audited), len(u.pinned), u.restores, u.notary.aborted)
	if state := u.r.state(); state.LastRemoval == 0 || state.Moved == 0 || u.restores == 0 {
		t.Errorf("last removal %d, moved %d: that tries little", state.LastRemoval, state.Moved)
	}
	u.r.run("restored", nil, "verify")
	u.replica.run("restored", nil, "verify")
}

// round lets everything happen for some seconds, ends it, and looks what is left.
func (u *upkeep) round() {
	u.t.Helper()
	ctx, end := context.WithCancel(context.Background())
	defer end()
	done := make(chan struct{})
	go func() {
		defer close(done)
		u.notary.work(ctx)
	}()
	last := 3 + u.rng.IntN(4)
	policy := []string{"-X", fmt.Sprintf("retention.keep.last=%d", last), "-X", "retention.maxRemovedShare=1",
		"-X", []string{"retention.grace=0s", "retention.grace=1s", "retention.grace=1m"}[u.rng.IntN(3)]}
	u.flags = append([]string{"run", "-X", "snapshots.every=10"}, smallSeals...)
	if u.rng.IntN(2) == 0 {
		u.flags = append(append(u.flags, "-X", "merge.every=1s", "-X", "merge.minAge=0s", "-X", "retention.every=1s"), policy...)
	}
	u.daemon = u.r.start("backupd", u.source, u.flags...)
	u.restore = nil
	if len(u.audited) == 0 {
		eventually(u.t, "the first recovery point", func() bool { return u.r.objects("log") > 1 })
	} else {
		u.restore = u.chooseRestore()
	}
	for began := time.Now(); time.Since(began) < 4*time.Second; time.Sleep(10 * time.Millisecond) {
		u.watchDaemon()
		u.reap()
		if len(u.chores) < 3 {
			u.begin(policy)
		}
	}
	end()
	<-done
	for len(u.chores) > 0 {
		must(u.t, u.chores[0].Kill())
		u.reap()
	}
	must(u.t, u.daemon.Kill())
	u.audit(last)
	u.auditReplica()
	u.finishRestore()
	u.notary.forget()
}

// watchDaemon kills it now and then, and starts it again however it ended. A sweep may have taken it for dead.
func (u *upkeep) watchDaemon() {
	u.t.Helper()
	if u.rng.IntN(150) == 0 {
		must(u.t, u.daemon.Kill())
	}
	if !u.daemon.ended() {
		return
	}
	o := u.daemon.outcome(u.t)
	if o.code != exitKilled && o.code != exitFenced {
		u.t.Fatalf("backupd ended by itself with %d:\n%s", o.code, tail(o.stderr))
	}
	u.ends[fmt.Sprintf("daemon: %d", o.code)]++
	u.daemon = u.r.start("backupd", u.source, u.flags...)
}

// begin begins a chore at random.
func (u *upkeep) begin(policy []string) {
	u.t.Helper()
	c := &chore{}
	switch n := u.rng.IntN(14); {
	case n >= 12:
		if u.chored("copy") { // two copies to one place are tried elsewhere
			return
		}
		c.what, c.process = "copy", u.r.start("backupd", nil, "copy", "--to", u.replica.url)
	case n < 3:
		c.what, c.process = "merge", u.r.start("backupd", nil, "merge", "-X", "merge.minAge=0s")
	case n < 6:
		c.what, c.process = "prune", u.r.start("backupd", nil, append([]string{"prune"}, policy...)...)
	case n < 7:
		c.what, c.process = "sweep", u.r.start("backupd", nil, "sweep", "--older-than", "0s")
	case n < 8:
		c.what, c.process = "verify", u.r.start("restored", nil, "verify", "--level", "digest")
	case n < 9 && len(u.pinned) < 6:
		u.pin()
		return
	default:
		if u.restore == nil || u.chored("restore") {
			return
		}
		c.what, c.process = "restore", u.r.start("restored", u.target, u.restore.args...)
	}
	switch n := u.rng.IntN(10); {
	case n < 5:
		limit := 200 * time.Millisecond // most are done soon
		if c.what == "restore" {
			limit *= 4
		}
		c.fate, c.next = "killed", time.Now().Add(upTo(u.rng, limit))
	case n < 7:
		c.fate, c.next = "paused", time.Now().Add(upTo(u.rng, 300*time.Millisecond))
	default:
		c.fate = "left alone"
	}
	u.chores = append(u.chores, c)
}

// chored says whether such a chore is under way.
func (u *upkeep) chored(what string) bool {
	return slices.ContainsFunc(u.chores, func(c *chore) bool { return c.what == what })
}

// pin pins a point at random, which is there for good from then on, unless it was pruned meanwhile.
func (u *upkeep) pin() {
	u.t.Helper()
	points := u.r.state().Points
	if len(points) == 0 {
		return
	}
	id := points[u.rng.IntN(len(points))].Sequence
	switch o := u.r.try("backupd", nil, "point", "pin", fmt.Sprint(id)); {
	case o.code == exitOK:
		u.pinned[id] = true
	case o.code != exitRefused || !strings.Contains(o.stderr, "no such recovery point"):
		u.t.Fatalf("pin %d: exit code %d\n%s", id, o.code, tail(o.stderr))
	}
}

// reap does to the chores what is to be done now, and looks how others have ended.
func (u *upkeep) reap() {
	u.t.Helper()
	u.chores = slices.DeleteFunc(u.chores, func(c *chore) bool {
		if c.ended() {
			u.ended(c)
			return true
		}
		if c.next.IsZero() || time.Now().Before(c.next) {
			return false
		}
		switch {
		case c.fate == "killed":
			must(u.t, c.Kill())
		case !c.stopped:
			_ = c.Signal(syscall.SIGSTOP) // it may have ended just now
			c.stopped, c.next = true, time.Now().Add(upTo(u.rng, 1500*time.Millisecond))
		default:
			_ = c.Signal(syscall.SIGCONT)
			c.next = time.Time{}
		}
		return false
	})
}

// ended wants an end that is allowed: a success, or a refusal for what others did meanwhile.
func (u *upkeep) ended(c *chore) {
	u.t.Helper()
	o := c.outcome(u.t)
	allowed := map[string][]int{
		"merge":   {exitOK, exitFenced},
		"prune":   {exitOK},
		"sweep":   {exitOK},
		"copy":    {exitOK},
		"verify":  {exitOK},
		"restore": {exitOK, exitRefused},
	}[c.what]
	if o.code != exitKilled && !slices.Contains(allowed, o.code) {
		u.t.Errorf("%s (%s) ended with %d:\n%s\n%s", c.what, c.fate, o.code, tail(o.stdout), tail(o.stderr))
	}
	if o.code == exitRefused && !strings.Contains(o.stderr, "begin again") && !strings.Contains(o.stderr, "no such recovery point") {
		u.t.Errorf("%s of point %d was refused:\n%s", c.what, u.restore.point, tail(o.stderr))
	}
	u.ends[fmt.Sprintf("%s %s: %d", c.what, c.fate, o.code)]++
}

// audit looks at every point that there is.
func (u *upkeep) audit(last int) {
	u.t.Helper()
	repo, points := u.r.open(), u.r.state().Points
	for _, p := range points {
		got := u.look(repo, p.Sequence)
		if was, ok := u.audited[p.Sequence]; ok {
			if !reflect.DeepEqual(got, was) {
				u.t.Errorf("point %d is not what it was: %s", p.Sequence, differences(was, got))
			}
			continue
		}
		u.audited[p.Sequence] = got
		for _, text := range u.notary.check(time.UnixMilli(p.Time), got.Held) {
			u.t.Errorf("point %d: %s", p.Sequence, text)
		}
	}
	for id := range u.audited {
		newer := 0
		there := slices.ContainsFunc(points, func(p manifest.PointRef) bool {
			if p.Sequence > id {
				newer++
			}
			return p.Sequence == id
		})
		if !there && (u.pinned[id] || newer < last) {
			u.t.Errorf("point %d is gone (pinned: %v), of the %d newer ones are there %d", id, u.pinned[id], last, newer)
		}
		if !there {
			delete(u.audited, id)
		}
	}
}

// auditReplica completes the copy, now that nobody disturbs it, and looks whether it has every point.
func (u *upkeep) auditReplica() {
	u.t.Helper()
	u.r.run("backupd", nil, "copy", "--to", u.replica.url)
	repo, points := u.replica.open(), u.replica.state().Points
	if len(points) != len(u.audited) {
		u.t.Errorf("the copy has %d points of %d", len(points), len(u.audited))
	}
	for _, p := range points {
		if got, was := u.look(repo, p.Sequence), u.audited[p.Sequence]; !reflect.DeepEqual(got, was) {
			u.t.Errorf("point %d of the copy is not what it was: %s", p.Sequence, differences(was, got))
		}
	}
}

// look reads what a restore to a point would bring back.
func (u *upkeep) look(repo *manifest.Repository, id uint64) audited {
	u.t.Helper()
	ctx := u.t.Context()
	snap, err := source.LoadPoint(ctx, repo, id)
	must(u.t, err)
	a := audited{make(map[partitionOf]kept), make(map[string]map[manifest.OffsetKey]manifest.CommittedOffset)}
	for _, topic := range snap.Content().Topics {
		for _, p := range topic.Partitions {
			a.Held[partitionOf{topic.Topic, p.Partition}] = kept{from: p.From, to: p.To}
		}
	}
	for name, g := range snap.State.Groups {
		a.Groups[name] = maps.Clone(g.Offsets)
	}
	plan, err := snap.Plan(ctx, nil, source.Request{}, time.Now())
	must(u.t, err)
	if len(plan.Refusals) > 0 {
		u.t.Errorf("point %d is refused: %s", id, strings.Join(plan.Refusals, "\n"))
		return a
	}
	must(u.t, plan.EachRecord(ctx, func(t *source.TopicPlan, partition int32, r *batch.Record) error {
		at := partitionOf{t.Target, partition}
		k := a.Held[at]
		k.records = append(k.records, oracle.Identify(r.Timestamp, r))
		a.Held[at] = k
		return nil
	}))
	return a
}

func differences(was, got audited) string {
	for at, k := range was.Held {
		if g := got.Held[at]; !reflect.DeepEqual(g, k) {
			return fmt.Sprintf("%s-%d had %d records of [%d,%d), has %d of [%d,%d)", at.topic, at.partition, len(k.records), k.from, k.to, len(g.records), g.from, g.to)
		}
	}
	return fmt.Sprintf("groups were %v, are %v", was.Groups, got.Groups)
}

// chooseRestore draws a point that was audited, if possible one that is pinned: it must come back in any case.
func (u *upkeep) chooseRestore() *restoring {
	ids := slices.Sorted(maps.Keys(u.pinned))
	ids = slices.DeleteFunc(ids, func(id uint64) bool { _, ok := u.audited[id]; return !ok })
	if len(ids) == 0 || u.rng.IntN(3) == 0 {
		ids = slices.Sorted(maps.Keys(u.audited))
	}
	r := &restoring{point: ids[u.rng.IntN(len(ids))]}
	n := len(u.ends) + 100*u.restores
	r.topic = func(name string) string { return fmt.Sprintf("%s-%d-%d", name, r.point, n) }
	r.args = []string{"run", "--yes", "-o", "json", "--at", fmt.Sprint(r.point), "--replication-factor", "1"}
	for _, topic := range vowedTopics {
		r.args = append(r.args, "--rename", topic+"="+r.topic(topic))
	}
	return r
}

// finishRestore completes the restore of the round, now that nobody disturbs it, and looks at what came back.
func (u *upkeep) finishRestore() {
	u.t.Helper()
	if u.restore == nil {
		return
	}
	want, there := u.audited[u.restore.point]
	o := u.r.try("restored", u.target, u.restore.args...)
	if !there {
		if o.code != exitRefused {
			u.t.Errorf("a restore to point %d, which was pruned, ended with %d:\n%s", u.restore.point, o.code, tail(o.stderr))
		}
		return
	}
	if o.code != exitOK {
		u.t.Fatalf("the restore to point %d ended with %d:\n%s", u.restore.point, o.code, tail(o.stderr))
	}
	group := committed(u.t, u.target, vowed)
	for _, topic := range vowedTopics {
		name := u.restore.topic(topic)
		for p, log := range readTopic(u.t, u.target, name) {
			at := partitionOf{topic, p}
			var got []oracle.Identity
			for _, r := range log.Records {
				got = append(got, r.Identity)
			}
			if !slices.Equal(got, want.Held[at].records) {
				u.t.Errorf("restored to point %d: %s-%d has %d records, want %d, or others", u.restore.point, topic, p, len(got), len(want.Held[at].records))
			}
			u.checkGroup(at, log, want.Held[at].records, group[name][p].At, want.Groups[vowed][manifest.OffsetKey{Topic: topic, Partition: p}].Offset)
		}
		deleteTopic(u.t, u.target, name)
	}
	u.restores++
}

// checkGroup wants a group that goes on from where it was brought to read next what it would have read at the source: of
// what the point holds, and nothing if it had read that.
func (u *upkeep) checkGroup(at partitionOf, log oracle.Log, held []oracle.Identity, offset, asked int64) {
	u.t.Helper()
	var want, got oracle.Identity
	for _, a := range u.notary.acts[at] {
		if at.topic == plainTopic && a.offset == asked && slices.Contains(held, a.id) {
			want = a.id
		}
	}
	for _, r := range slices.Backward(log.Records) {
		if at.topic == plainTopic && r.Offset >= offset {
			got = r.Identity
		}
	}
	if want != got {
		u.t.Errorf("restored to point %d: the group is at %d of %s-%d for %d of the source, which is another record", u.restore.point, offset, at.topic, at.partition, asked)
	}
}
