package sweep

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/merge"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/internal/store"
)

// What looks after a repository: merges, prunes, sweeps, repairs.

func (w *world) merge(ctx context.Context, st store.Store) error {
	repo, err := manifest.Open(ctx, st)
	if err != nil {
		return err
	}
	m := merge.New(repo, merge.Config{MinSegments: 2, MinPieces: 2}, manifest.Agent{Program: "sweep"}, quiet, time.Now)
	r, err := m.Run(ctx)
	if err == nil && r.Damaged > 0 {
		err = fmt.Errorf("%w: %d segments were left alone", manifest.ErrDamaged, r.Damaged)
	}
	return err
}

// dayOfDeletion is a day on which the source has forgotten some of its records, too.
func (w *world) dayOfDeletion(ctx context.Context) error {
	const forgotten = 5
	var ends kadm.Offsets
	for p := range topics["orders"] {
		ends.Add(kadm.Offset{Topic: "orders", Partition: p, At: forgotten})
		place := fmt.Sprintf("orders-%d", p)
		w.source.truth[place] = w.source.truth[place][forgotten:]
	}
	answers, err := kadm.NewClient(w.source.plain).DeleteRecords(ctx, ends)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		return err
	}
	return w.day(ctx)
}

// kept is how many points the policy keeps, besides the one that is pinned.
const kept = 2

func (w *world) prune(ctx context.Context, st store.Store) error {
	repo, err := manifest.Open(ctx, st)
	if err != nil {
		return err
	}
	p := &retention.Pruner{
		Repository: repo, Policy: retention.Policy{Rules: retention.Rules{Last: kept}, MinPoints: 1}, MaxShare: 1,
		Agent: manifest.Agent{Program: "sweep"}, Now: time.Now,
	}
	_, err = p.Prune(ctx)
	return err
}

// pruned tells whether the points that the policy keeps are there, whole, and no others.
func (w *world) pruned(ctx context.Context) error {
	if err := w.captured(ctx); err != nil {
		return err
	}
	if err := heldAt(ctx, w.clean, pointName, w.named); err != nil {
		return fmt.Errorf("point %s: %w", pointName, err)
	}
	log, err := w.log(ctx, w.clean)
	if err != nil {
		return err
	}
	if s := log.State(); len(s.Points) != kept+1 || len(s.Removals) > 0 {
		return fmt.Errorf("%d points, want %d; removed and not deleted: %v", len(s.Points), kept+1, s.Removals)
	}
	return nil
}

func (w *world) sweep(ctx context.Context, st store.Store) error {
	repo, err := manifest.Open(ctx, st)
	if err != nil {
		return err
	}
	_, err = (&retention.Sweeper{Repository: repo, All: true, Agent: manifest.Agent{Program: "sweep"}, Now: time.Now}).Sweep(ctx, false)
	return err
}

// breakOne damages a segment of the last backup, unless that has been done.
func (w *world) breakOne(ctx context.Context) error {
	if w.broken != "" {
		return nil
	}
	repo, err := manifest.Open(ctx, w.clean)
	if err != nil {
		return err
	}
	if _, err := repo.Read(ctx, 0, func(_ *manifest.State, e *manifest.Entry) error {
		for _, s := range e.Segments {
			w.broken = manifest.SegmentKey(e.Writer, s.Counter)
		}
		return nil
	}); err != nil {
		return err
	}
	body, err := w.clean.Get(ctx, w.broken, 0, 1<<20)
	if err != nil {
		return err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	data[20] ^= 1 // in its first block
	if err := w.clean.Delete(ctx, w.broken); err != nil {
		return err
	}
	_, err = w.clean.Put(ctx, w.broken, bytes.NewReader(data), store.PutOptions{IfAbsent: true})
	return err
}

func (w *world) repair(ctx context.Context, st store.Store) error {
	if err := w.breakOne(ctx); err != nil {
		return err
	}
	repo, err := manifest.Open(ctx, st)
	if err != nil {
		return err
	}
	r, err := (&source.Repairer{Repository: repo, Cluster: w.source.cluster, Log: quiet, Patience: time.Minute}).Run(ctx)
	if err == nil && len(r.Report.Damages) > 0 {
		err = fmt.Errorf("%w: %+v", manifest.ErrDamaged, r.Report.Damages)
	}
	return err
}

// mended tells whether nothing is damaged any more.
func (w *world) mended(ctx context.Context) error {
	if err := w.verify(ctx, w.clean); err != nil {
		return err
	}
	return w.captured(ctx)
}
