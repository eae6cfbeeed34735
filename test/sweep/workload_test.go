package sweep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/replica"
	"github.com/offsite-kafka/offsite/internal/sink"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// world is what a workload works on.
type world struct {
	source *origin
	target *kfake.Cluster
	to     *kafka.Cluster
	clean  store.Store // without faults: for those who judge
	named  truth       // what the point with a name holds
	first  uint64      // the first point, once somebody looked
	copies store.Store // where the copy is
	broken string      // the segment that was damaged, once one was
}

// step is what one process does. It is begun again after an error, as a supervisor
// or an operator would. Its success is checked without faults.
type step struct {
	name string
	// before is what happens before it, once.
	before func(*world, context.Context) error
	do     func(*world, context.Context, store.Store) error
	check  func(*world, context.Context) error
}

// workload is what all runs do. What is new is one more step.
var workload = []step{
	{"first backup", (*world).day, (*world).backUp, (*world).captured},
	{"daemon", (*world).day, (*world).daemon, (*world).captured},
	{"daemon again", (*world).day, (*world).daemon, (*world).captured},
	{"point with a name", (*world).day, (*world).namePoint, (*world).captured},
	{"pin it", nil, (*world).pin, (*world).pinned},
	{"merge", nil, (*world).merge, (*world).captured},
	{"backup", (*world).day, (*world).backUp, (*world).captured},
	{"verify", nil, (*world).verify, nil},
	{"restore", nil, (*world).restoreAll, (*world).restoredAll},
	{"backup after the restore", (*world).day, (*world).backUp, (*world).captured},
	{"restore the named point", nil, (*world).restoreNamed, (*world).restoredNamed},
	{"restore it again", nil, (*world).restoreNamed, (*world).restoredNamed},
	{"copy", nil, (*world).copy, (*world).copied},
	{"delete the first point", nil, (*world).deleteFirst, (*world).captured},
	{"backup of less", (*world).dayOfDeletion, (*world).backUp, (*world).captured},
	{"merge again", nil, (*world).merge, (*world).captured},
	{"prune", nil, (*world).prune, (*world).pruned},
	{"sweep", nil, (*world).sweep, (*world).captured},
	{"backup after the sweep", (*world).day, (*world).backUp, (*world).captured},
	{"repair", nil, (*world).repair, (*world).mended},
	{"copy again", nil, (*world).copy, (*world).copied},
	{"verify at the end", nil, (*world).verify, nil},
}

func (w *world) day(ctx context.Context) error { return w.source.day(ctx) }

func newWorld(ctx context.Context, clean store.Store) (w *world, err error) {
	w = &world{clean: clean, copies: mem.New()}
	if w.source, err = newOrigin(ctx); err != nil {
		return nil, err
	}
	if w.target, err = kfake.NewCluster(kfake.NumBrokers(1)); err != nil {
		return nil, err
	}
	w.to, err = connect(ctx, w.target)
	return w, err
}

func (w *world) close() {
	w.to.Close()
	w.target.Close()
	w.source.close()
}

// sink returns one that makes many small objects.
func (w *world) sink(ctx context.Context, st store.Store) (*sink.Sink, error) {
	repo, err := manifest.OpenOrCreate(ctx, st, w.source.cluster.ID(), time.UnixMilli(1_700_000_000_000))
	if err != nil {
		return nil, err
	}
	c := sink.Defaults()
	if c.Topics, err = pattern.Parse(nil); err != nil {
		return nil, err
	}
	c.FetchWait, c.SegmentAge, c.PointEvery = 5*time.Millisecond, 20*time.Millisecond, 20*time.Millisecond
	c.PartitionBytes, c.FetchBytes, c.SegmentBytes = 256, 600, 400
	c.SnapshotEvery = 10
	return &sink.Sink{Cluster: w.source.cluster, Repository: repo, Config: c, Agent: manifest.Agent{Program: "sweep"}, Log: quiet}, nil
}

func (w *world) backUp(ctx context.Context, st store.Store) error {
	s, err := w.sink(ctx, st)
	if err == nil {
		_, err = s.Once(ctx)
	}
	return err
}

// daemon runs until a recovery point has all there is.
func (w *world) daemon(ctx context.Context, st store.Store) error {
	s, err := w.sink(ctx, st)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	for {
		select {
		case err := <-ended:
			if err == nil {
				err = errors.New("ended without a reason")
			}
			return fmt.Errorf("daemon: %w", err)
		case <-time.After(10 * time.Millisecond):
			if w.captured(ctx) == nil {
				stop()
				if err := <-ended; !errors.Is(err, context.Canceled) || tells(err) {
					return err
				}
				return nil // it was still about to begin: the one before, which died, had captured all
			}
		}
	}
}

const pointName = "upgrade"

func (w *world) namePoint(ctx context.Context, st store.Store) error {
	w.named = w.source.truth.clone()
	s, err := w.sink(ctx, st)
	if err != nil {
		return err
	}
	s.Config.BesideRun = true
	_, err = s.OncePoint(ctx, pointName)
	if errors.Is(err, manifest.ErrNameTaken) {
		return nil // by the one before, which did not know that it had succeeded
	}
	return err
}

// log opens the log, for a change to its points.
func (w *world) log(ctx context.Context, st store.Store) (*manifest.Log, error) {
	repo, err := manifest.Open(ctx, st)
	if err != nil {
		return nil, err
	}
	return repo.OpenLog(ctx, time.Now)
}

func (w *world) pin(ctx context.Context, st store.Store) error {
	log, err := w.log(ctx, st)
	if err == nil {
		_, err = log.PinPoint(ctx, named, true)
	}
	return err
}

func named(s *manifest.State) (manifest.PointRef, error) {
	return source.NamedPoint(s.Points, pointName)
}

func (w *world) pinned(ctx context.Context) error {
	log, err := w.log(ctx, w.clean)
	if err != nil {
		return err
	}
	p, err := named(log.State())
	if err == nil && !p.Pinned {
		err = errors.New("the point is not pinned")
	}
	return err
}

// deleteFirst deletes the first point, unless that has been done.
func (w *world) deleteFirst(ctx context.Context, st store.Store) error {
	log, err := w.log(ctx, st)
	if err != nil {
		return err
	}
	if w.first == 0 {
		w.first = log.State().Points[0].Sequence
	}
	if log.State().Points[0].Sequence != w.first {
		return nil
	}
	_, err = log.DeletePoint(ctx, func(s *manifest.State) (manifest.PointRef, error) { return s.Points[0], nil })
	return err
}

func (w *world) verify(ctx context.Context, st store.Store) error {
	repo, err := manifest.Open(ctx, st)
	if err != nil {
		return err
	}
	report, err := source.Verify(ctx, repo, source.Scope{Level: manifest.LevelDecode}, nil)
	if err == nil && len(report.Damages) > 0 {
		err = fmt.Errorf("%w: %+v", manifest.ErrDamaged, report.Damages)
	}
	return err
}

// copy copies the repository to a store without faults.
func (w *world) copy(ctx context.Context, st store.Store) error {
	repo, err := manifest.Open(ctx, st)
	if err != nil {
		return err
	}
	_, err = (&replica.Copier{From: repo, To: w.copies, Log: quiet}).Copy(ctx)
	return err
}

func (w *world) copied(ctx context.Context) error { return w.capturedIn(ctx, w.copies) }

// captured tells what the latest point lacks, or has too much.
func (w *world) captured(ctx context.Context) error { return w.capturedIn(ctx, w.clean) }

func (w *world) capturedIn(ctx context.Context, st store.Store) error {
	return heldAt(ctx, st, "latest", w.source.truth)
}

// heldAt tells what a point lacks of a truth, or has too much.
func heldAt(ctx context.Context, st store.Store, at string, want truth) error {
	repo, err := manifest.Open(ctx, st)
	if err != nil {
		return err
	}
	snap, err := source.Load(ctx, repo, at, time.Now())
	if err != nil {
		return err
	}
	plan, err := snap.Plan(ctx, nil, source.Request{}, time.Now())
	if err != nil {
		return err
	}
	got := make(truth)
	err = plan.EachRecord(ctx, func(t *source.TopicPlan, partition int32, r *batch.Record) error {
		place := fmt.Sprintf("%s-%d", t.Target, partition)
		got[place] = append(got[place], string(r.Value()))
		return nil
	})
	if err != nil {
		return err
	}
	return want.compare(got)
}

const suffix = "-copy"

func (w *world) restoreAll(ctx context.Context, st store.Store) error {
	return w.restore(ctx, st, "latest", "")
}

func (w *world) restoreNamed(ctx context.Context, st store.Store) error {
	return w.restore(ctx, st, pointName, suffix)
}

// restore restores into topics with a suffix.
func (w *world) restore(ctx context.Context, st store.Store, at, suffix string) error {
	repo, err := manifest.Open(ctx, st)
	if err != nil {
		return err
	}
	request := source.Request{At: at}
	if suffix != "" {
		request.Rename = make(map[string]string)
		for topic := range topics {
			request.Rename[topic] = topic + suffix
		}
	}
	plan, err := source.Prepare(ctx, repo, w.to, request, time.Now())
	if err != nil {
		return err
	}
	_, err = (&source.Runner{Cluster: w.to, Log: quiet}).Run(ctx, plan)
	return err
}

func (w *world) restoredAll(ctx context.Context) error { return w.restored(ctx, "", w.source.truth) }

func (w *world) restoredNamed(ctx context.Context) error { return w.restored(ctx, suffix, w.named) }

func (w *world) restored(ctx context.Context, suffix string, want truth) error {
	got, err := consumed(ctx, w.target, suffix)
	if err != nil {
		return err
	}
	return want.compare(got)
}
