package retention

import (
	"context"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Chosen says which of the segments that may be read, as of a state, hold something
// that a restore to one of some points reads, and which do not. The points, ascending,
// are of the state; there is at least one.
func Chosen(ctx context.Context, repo *manifest.Repository, head *manifest.State, points []manifest.PointRef) (needed, rest *manifest.SegmentLot, err error) {
	decisions := make([]Decision, len(points))
	for i, p := range points {
		decisions[i] = Decision{Point: p, Keep: true, by: []bool{true}}
	}
	n, err := readNeeds(ctx, repo, &Policy{}, head, decisions, time.Time{}, true)
	if err != nil {
		return nil, nil, err
	}
	needed, rest = &manifest.SegmentLot{Segments: make(manifest.SegmentSet)}, &manifest.SegmentLot{Segments: make(manifest.SegmentSet)}
	_, err = repo.Read(ctx, head.Sequence, func(s *manifest.State, e *manifest.Entry) error {
		known, wanted := n.segments(s, e)
		for i := range e.Segments {
			seg, lot := &e.Segments[i], needed
			if !head.Readable(e.Writer, seg.Counter) {
				continue
			}
			if known[i] && !wanted[i] {
				lot = rest
			}
			lot.Segments.Add(e.Writer, seg.Counter)
			lot.Bytes += seg.Size
		}
		return nil
	})
	return needed, rest, err
}
