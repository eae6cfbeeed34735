package source

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

// Parts of a comparison.
const (
	CompareRecords  = "records"
	CompareGroups   = "groups"   // where they go on
	CompareMetadata = "metadata" // all that Diff compares
)

// ComparedParts returns all of them.
func ComparedParts() []string { return []string{CompareRecords, CompareGroups, CompareMetadata} }

// Comparer holds a cluster against a reference: a recovery point, or another
// cluster.
type Comparer struct {
	Cluster  *kafka.Cluster
	Log      *slog.Logger
	Patience time.Duration           // how long a request that fails is repeated if that may cure it
	Progress func(done, total int64) // called with offsets that have been read, of both sides; may be nil
	Parts    []string                // see ComparedParts; empty: all
}

// Comparison is its outcome. Topics are those of the reference that are on the cluster, too.
type Comparison struct {
	Partitions []PartitionComparison
	Groups     []GroupMismatch
	Diff                // without the records: topics, configs, metadata; Backup is the reference
	Notes      []string // what the operator should know; no difference
}

// PartitionComparison is what the two sides have of one partition.
type PartitionComparison struct {
	Topic            string `json:"topic"`  // of the reference
	Target           string `json:"target"` // of the cluster
	Partition        int32  `json:"partition"`
	ReferenceRecords int64  `json:"referenceRecords"`
	ClusterRecords   int64  `json:"clusterRecords"`
	// SHA-256 over the records in order: see digest.
	ReferenceDigest string    `json:"referenceDigest"`
	ClusterDigest   string    `json:"clusterDigest"`
	Equal           bool      `json:"equal"`
	Mismatch        *Mismatch `json:"mismatch"` // the first one; nil if it is equal
}

// Equal says that the cluster has what the reference has, and no more.
func (c *Comparison) Equal() bool { return c.Differing() == 0 && c.Diff.Equal() }

// Differing is how many differences the comparison lists.
func (c *Comparison) Differing() int {
	n := len(c.Groups) + len(c.Differences)
	for _, p := range c.Partitions {
		if !p.Equal {
			n++
		}
	}
	return n
}

// section is a part of a partition on one side, by offsets.
type section struct {
	place    int // index into the compared partitions
	from, to int64
}

// side is one of the two that are compared, with its partitions in the order of
// the places.
type side interface {
	// sections returns the whole of each partition.
	sections() []section
	// digest adds all records to the digests, by place.
	digest(ctx context.Context, digests []*digest, progress func(int64)) error
	// read hands on the records of some sections, each in order by one goroutine.
	read(ctx context.Context, sections []section, each func(i int) func(*batch.Record) error, progress func(int64)) error
	// positions says where groups go on, once the digests are complete.
	positions(digests []*digest) map[commitPlace]position
}

// Point holds the cluster against what a restore by a plan would bring back.
// The plan is one without a cluster.
func (c *Comparer) Point(ctx context.Context, p *Plan) (*Comparison, error) {
	res := &Comparison{}
	if err := res.compareTopics(ctx, p.Topics, c.Cluster, len(p.Request.Topics) == 0); err != nil {
		return nil, err
	}
	if c.has(CompareMetadata) {
		for _, kind := range compared() {
			if err := res.addKind(ctx, p.Snapshot, c.Cluster, kind); err != nil {
				return nil, err
			}
		}
	}
	res.noteMissing(p)
	cluster := &live{cluster: c.Cluster, patience: c.patience()}
	places, err := c.places(ctx, p.Topics, cluster)
	if err != nil {
		return nil, err
	}
	if err := res.baseOn(ctx, p, cluster, places); err != nil {
		return nil, err
	}
	if err := cluster.begin(ctx); err != nil {
		return nil, err
	}
	return res, c.compare(ctx, res, newBacked(p, places), cluster, p.Topics, places)
}

// noteMissing says what the recovery point does not have.
func (c *Comparison) noteMissing(p *Plan) {
	for _, g := range p.Gaps {
		c.note("%s-%d: offsets [%d,%d) are not in the backup: %s", g.Topic, g.Partition, g.From, g.To, g.Reason)
	}
	for _, t := range p.Topics {
		if t.OpenTransactions > 0 {
			c.note("%s", openNote(t.Source.Label(), t.OpenTransactions))
		}
	}
}

// baseOn lets the partitions into which the same plan was restored begin where
// that restore did: a topic may have held records before.
func (c *Comparison) baseOn(ctx context.Context, p *Plan, cluster *live, places []place) error {
	state, err := readState(ctx, cluster.cluster, p.Snapshot.Repository.ID)
	if err != nil {
		return err
	}
	for i, at := range places {
		part, t := &cluster.parts[i], p.Topics[at.topic]
		s := state.topics[t.Target]
		if s == nil || s.target != part.id {
			continue
		}
		same := s.source == kafka.TopicID(t.Source.ID) && s.point == t.From.Point.Sequence && s.bounds == p.bounds(t)
		if same {
			part.base = s.starts[at.partition]
		}
		switch {
		case at.partition > 0: // once for each topic
		case !same:
			c.note("%s holds the restore of %s, %s: compare with that by --at %d", t.Target, p.sourceOf(s), inWords(s.bounds), s.point)
		case s.phase == phaseRunning:
			c.note("%s: its restore is not complete; run it again", t.Target)
		}
	}
	return nil
}

func (c *Comparer) has(part string) bool { return len(c.Parts) == 0 || slices.Contains(c.Parts, part) }

func (c *Comparer) patience() Patience { return Patience{c.Patience, c.Log} }

func (c *Comparison) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

// places returns the partitions that both sides have, and locates them on the
// cluster. What only one of them has is a difference of the topics.
func (c *Comparer) places(ctx context.Context, topics []*TopicPlan, cluster *live) ([]place, error) {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Target
	}
	there, err := cluster.cluster.Topics(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("look up topics: %w", err)
	}
	partitions := make(map[string]int32)
	for _, t := range there {
		partitions[t.Name] = int32(len(t.Partitions))
	}
	var list []place
	for i, t := range topics {
		for p := range min(t.Partitions, partitions[t.Target]) {
			list = append(list, place{i, p})
		}
	}
	return list, cluster.locate(ctx, list, func(at place) string { return topics[at.topic].Target })
}

// compare compares records and groups, by the parts that are asked for.
func (c *Comparer) compare(ctx context.Context, res *Comparison, ref side, cluster *live, topics []*TopicPlan, places []place) error {
	if !c.has(CompareMetadata) {
		res.dropMetadata()
	}
	if r, ok := ref.(*live); ok {
		res.Notes = append(res.Notes, r.notes...)
	}
	res.Notes = append(res.Notes, cluster.notes...)
	if !c.has(CompareRecords) && !c.has(CompareGroups) {
		return nil
	}
	refs, lives := newDigests(len(places)), newDigests(len(places))
	if err := c.digestBoth(ctx, ref, cluster, refs, lives); err != nil {
		return err
	}
	if c.has(CompareGroups) {
		res.compareGroups(ref.positions(refs), cluster.positions(lives), topics, places)
	}
	if b, ok := ref.(*backed); ok {
		res.Notes = append(res.Notes, b.notes...)
	}
	if !c.has(CompareRecords) {
		return nil
	}
	return res.compareRecords(ctx, ref, cluster, refs, lives, func(i int) PartitionComparison {
		t := topics[places[i].topic]
		return PartitionComparison{Topic: t.Source.Name, Target: t.Target, Partition: places[i].partition}
	})
}

// compareRecords compares the digests, and looks for the first difference where
// they are not the same.
func (c *Comparison) compareRecords(ctx context.Context, ref, cluster side, refs, lives []*digest, named func(i int) PartitionComparison) error {
	var disputes []*dispute
	refSections, liveSections := ref.sections(), cluster.sections()
	for i := range refs {
		p := named(i)
		p.ReferenceRecords, p.ClusterRecords = refs[i].records, lives[i].records
		p.ReferenceDigest, p.ClusterDigest = hex.EncodeToString(refs[i].sum.Sum(nil)), hex.EncodeToString(lives[i].sum.Sum(nil))
		if p.Equal = refs[i].equal(lives[i]); !p.Equal {
			disputes = append(disputes, newDispute(i, refSections[i], liveSections[i], refs[i], lives[i]))
		}
		c.Partitions = append(c.Partitions, p)
	}
	for some := range slices.Chunk(disputes, disputesAtOnce) {
		if err := settleDisputes(ctx, ref, cluster, some); err != nil {
			return err
		}
		for _, d := range some {
			c.Partitions[d.place].Mismatch = d.mismatch
		}
	}
	return nil
}

// dropMetadata leaves only differences for which there are no records to compare.
func (c *Comparison) dropMetadata() {
	c.Differences = slices.DeleteFunc(c.Differences, func(d Difference) bool {
		return d.Kind != kindTopics || d.Backup == nil || d.Setting == settingReplication
	})
	c.Uncompared = slices.DeleteFunc(c.Uncompared, func(u Uncompared) bool { return u.Kind != kindTopics })
}

func newDigests(n int) []*digest {
	list := make([]*digest, n)
	for i := range list {
		list[i] = newDigest(leastInterval, marksFor(n))
	}
	return list
}

// digestBoth reads both sides at the same time.
func (c *Comparer) digestBoth(ctx context.Context, ref, cluster side, refs, lives []*digest) error {
	var total int64
	for _, s := range append(ref.sections(), cluster.sections()...) {
		total += s.to - s.from
	}
	var mu sync.Mutex
	var done int64
	progress := func(n int64) {
		mu.Lock()
		defer mu.Unlock()
		if done += n; c.Progress != nil {
			c.Progress(done, total)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return ref.digest(ctx, refs, progress) })
	g.Go(func() error { return cluster.digest(ctx, lives, progress) })
	return g.Wait()
}
