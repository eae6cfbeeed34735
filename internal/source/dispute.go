package source

import (
	"context"
	"hash/maphash"

	"golang.org/x/sync/errgroup"

	"github.com/offsite-kafka/offsite/internal/batch"
)

const (
	// disputesAtOnce is in how many partitions the first difference is looked for
	// at the same time: the log of the repository is read anew for it.
	disputesAtOnce = 64
	// disputeMarks are those of a digest over part of a partition.
	disputeMarks = 1024
)

// dispute is a partition that is not the same on both sides, and the sections in
// which the sides part.
type dispute struct {
	place    int
	sides    [2]disputed
	equal    int64 // records before the sections
	interval int64 // within so many records the sides part
	mismatch *Mismatch
}

// disputed is one side of a dispute.
type disputed struct {
	section
	total  int64 // records of the partition
	ends   bool  // the section ends with the partition
	digest *digest
	window window
}

func newDispute(place int, ref, live section, refs, lives *digest) *dispute {
	d := &dispute{place: place, sides: [2]disputed{{section: ref, total: refs.records, ends: true, digest: refs}, {section: live, total: lives.records, ends: true, digest: lives}}}
	d.narrow()
	return d
}

// narrow shortens the sections by what their digests tell. What follows the first
// difference stays, since it explains it.
func (d *dispute) narrow() {
	n, interval := alike(d.sides[0].digest, d.sides[1].digest)
	d.equal, d.interval = d.equal+n, interval
	for i := range d.sides {
		s := &d.sides[i]
		if m, ok := s.digest.at(n); ok {
			s.from = m.next
		}
		if m, ok := s.digest.at(n + 2*interval); ok {
			s.to, s.ends = m.next, false
		}
		s.digest = nil
	}
}

// settleDisputes finds the first difference of each.
func settleDisputes(ctx context.Context, ref, cluster side, list []*dispute) error {
	for {
		var wide []*dispute
		for _, d := range list {
			if d.interval > leastInterval {
				wide = append(wide, d)
			}
		}
		if len(wide) == 0 {
			break
		}
		if err := readDisputes(ctx, ref, cluster, wide, (*disputed).digestAnew); err != nil {
			return err
		}
		for _, d := range wide {
			d.narrow()
		}
	}
	seed := maphash.MakeSeed()
	look := func(s *disputed, _ int64) func(*batch.Record) error {
		s.window = window{ends: s.ends, total: s.total}
		return func(r *batch.Record) error {
			s.window.records = append(s.window.records, sight(seed, r))
			return nil
		}
	}
	if err := readDisputes(ctx, ref, cluster, list, look); err != nil {
		return err
	}
	for _, d := range list {
		d.mismatch = explain(d.sides[0].window, d.sides[1].window)
		d.mismatch.Equal += d.equal
		d.sides = [2]disputed{}
	}
	return nil
}

// digestAnew begins a digest of the section, with marks closer to each other.
func (s *disputed) digestAnew(interval int64) func(*batch.Record) error {
	closer := int64(leastInterval)
	for closer*disputeMarks < 2*interval {
		closer *= 2
	}
	s.digest = newDigest(closer, disputeMarks)
	return s.digest.add
}

// readDisputes reads the sections of both sides into what begin returns for each.
func readDisputes(ctx context.Context, ref, cluster side, list []*dispute, begin func(s *disputed, interval int64) func(*batch.Record) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, from := range []side{ref, cluster} {
		var sections []section
		var sinks []func(*batch.Record) error
		for _, d := range list {
			sections = append(sections, d.sides[i].section)
			sinks = append(sinks, begin(&d.sides[i], d.interval))
		}
		g.Go(func() error {
			return from.read(ctx, sections, func(n int) func(*batch.Record) error { return sinks[n] }, func(int64) {})
		})
	}
	return g.Wait()
}
