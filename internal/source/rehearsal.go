package source

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Rehearsal restores a recovery point, compares what it has restored with the
// point, and removes it again.
type Rehearsal struct {
	Repository *manifest.Repository
	At         string
	Topics     []string // as Request.Topics
	AcceptGap  bool
	Scope      Scope // its share and seed choose among the topics, of which there is one at least
	// Cluster is where it is restored to, under names that begin with
	// RehearsalPrefix, without the offsets of groups. Without it that is a cluster in this
	// process, with all of it in memory, and with groups.
	Cluster  *kafka.Cluster
	Log      *slog.Logger
	Progress func(records int64) // as Runner.Progress
	Patience time.Duration
}

// Rehearsed is its outcome.
type Rehearsed struct {
	Point      manifest.PointRef
	Cluster    string   // its id
	Topics     []string // that were restored, of the backup
	Records    int64
	Comparison *Comparison
}

// RehearsalPrefix is what the names of topics begin with that rehearsals create in
// a cluster. A number and the topic's name follow.
const RehearsalPrefix = "offsite-rehearsal-"

// mostEmbedded bounds what is restored into this process, in bytes of batches.
const mostEmbedded = 512 << 20

// Run does it. The error wraps ErrRefused if it is too much for this process.
func (r *Rehearsal) Run(ctx context.Context) (res *Rehearsed, err error) {
	req := Request{At: r.At, Topics: r.Topics, AcceptGap: r.AcceptGap, Parts: []string{PartTopics}, ReplicationFactor: 1}
	plan, err := PrepareCompared(ctx, r.Repository, nil, req, time.Now())
	if err != nil {
		return nil, err
	}
	req.At = fmt.Sprint(plan.Snapshot.Point.Sequence) // whatever is committed meanwhile
	if plan.Topics = r.choose(plan.Topics); r.Cluster == nil {
		if err := bounded(plan.Topics); err != nil {
			return nil, err
		}
	}
	if r.Cluster == nil { // nobody is to take what is done there for something done to their cluster
		local := *r
		local.Log = r.Log.With("cluster", "embedded")
		r = &local
	}
	cluster, prefix := r.Cluster, RehearsalPrefix+hex.EncodeToString(newID())+"-"
	if cluster == nil {
		embedded, err := kafka.StartEmbedded(ctx, r.Log)
		if err != nil {
			return nil, err
		}
		defer embedded.Close()
		cluster, prefix = embedded.Cluster, ""
	}
	r.narrow(&req, plan.Topics, prefix)
	if prefix != "" {
		defer func() { err = errors.Join(err, r.remove(ctx, cluster, req.Rename)) }()
	}
	res = &Rehearsed{Point: plan.Snapshot.Point, Cluster: cluster.ID()}
	return res, r.restore(ctx, cluster, req, res)
}

func newID() []byte {
	id := manifest.NewID()
	return id[:4]
}

// choose returns the topics of the sample.
func (r *Rehearsal) choose(all []*TopicPlan) []*TopicPlan {
	some := slices.DeleteFunc(slices.Clone(all), func(t *TopicPlan) bool { return !r.Scope.chooses(t.Source.Label()) })
	if len(some) == 0 && len(all) > 0 {
		some = append(some, all[r.Scope.Seed%uint64(len(all))])
	}
	return some
}

// bounded refuses what this process should not hold.
func bounded(topics []*TopicPlan) error {
	var bytes int64
	for _, t := range topics {
		bytes += t.Bytes
	}
	if bytes <= mostEmbedded {
		return nil
	}
	return fmt.Errorf("%w: a cluster in this process holds %s at most, these topics have %s: choose some with --topics or --sample, or give another cluster with --bootstrap-server",
		ErrRefused, humanize.IBytes(mostEmbedded), humanize.IBytes(uint64(bytes)))
}

// narrow lets the request have the chosen topics only, under names with the
// prefix, and keeps the cluster from deleting what is old.
func (r *Rehearsal) narrow(req *Request, topics []*TopicPlan, prefix string) {
	forever := "-1"
	req.Topics, req.Rename = nil, make(map[string]string)
	for _, t := range topics {
		req.Topics = append(req.Topics, t.Source.Label())
		req.Rename[t.Source.Label()] = prefix + t.Target
	}
	req.Overrides = []Override{{Topics: req.Topics, Configs: map[string]*string{"retention.ms": &forever, "retention.bytes": &forever}}}
}

// restore restores and compares.
func (r *Rehearsal) restore(ctx context.Context, cluster *kafka.Cluster, req Request, res *Rehearsed) error {
	plan, err := Prepare(ctx, r.Repository, cluster, req, time.Now())
	if err != nil {
		return err
	}
	parts := []string{CompareRecords, CompareGroups}
	if r.Cluster != nil {
		plan.Groups, parts = nil, parts[:1]
	}
	runner := &Runner{Cluster: cluster, Log: r.Log, Progress: r.Progress, Patience: r.Patience}
	done, err := runner.Run(ctx, plan)
	if err != nil {
		return err
	}
	for _, t := range done.Topics {
		res.Topics = append(res.Topics, t.Source)
		res.Records += t.Kept
	}
	if plan, err = PrepareCompared(ctx, r.Repository, cluster, req, time.Now()); err != nil {
		return err
	}
	res.Comparison, err = (&Comparer{Cluster: cluster, Log: r.Log, Patience: r.Patience, Parts: parts}).Point(ctx, plan)
	return err
}

// removeWithin is how long the topics may take to be deleted, also after an interruption.
const removeWithin = 30 * time.Second

// remove deletes what the rehearsal has created.
func (r *Rehearsal) remove(ctx context.Context, cluster *kafka.Cluster, renamed map[string]string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWithin)
	defer cancel()
	var names []string
	for _, name := range renamed {
		names = append(names, name)
	}
	slices.Sort(names)
	if err := cluster.DeleteTopics(ctx, names); err != nil {
		return fmt.Errorf("the topics of the rehearsal stay behind on cluster %s, delete them: %s: %w", cluster.ID(), strings.Join(names, ", "), err)
	}
	return nil
}
