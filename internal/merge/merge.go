// Package merge rewrites a repository's small blocks into large segments in
// which what belongs to one stream lies together, so that one partition can be
// restored without reading all the others, and in few requests.
//
// It works like a sort of a file that is larger than memory. The segments of
// backupd, in which the blocks of all streams come as they arrived, are taken in
// the order of the log, as many as memory allows, and sorted by stream. Sorted
// segments are merged, as soon as there are enough in which streams have pieces of
// about the same size, into segments in which they have larger ones, each input being read from its
// beginning to its end. So every byte is written anew a few times only, as often as
// the size of the pieces can be multiplied.
//
// Each segment that is written becomes part of the repository by one log entry
// (docs/format.md, sections 12 and 13), and what a killed merger has done before is
// done. Where it stands, only the log knows. Of two that move the same data one is first; the other one
// finds that out from the log, and drops its work.
package merge

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Config says what is merged, and how. Where 0 means nothing else, it means the default.
type Config struct {
	TargetBytes  int64         // a segment is ended once it is so large
	MinAge       time.Duration // what was captured since then is left alone; 0 for nothing
	MaxBandwidth int64         // read and written bytes a second; 0 for no limit
	// SortBytes is how much of captured segments is sorted in memory. A larger one is
	// read block by block.
	SortBytes int64
	// MinSegments is how many captured segments are worth being sorted: fewer wait for others.
	MinSegments int
	// Recompress stores batches with their records uncompressed in blocks of zstd, where that is smaller.
	Recompress bool
	// MinPieces is how many pieces a stream must have, on the average, in sorted
	// segments that are merged.
	MinPieces int
}

func (c Config) withDefaults() Config {
	or(&c.TargetBytes, 128<<20)
	or(&c.SortBytes, 68<<20) // a segment of the size that they have by default, and its footer
	or(&c.MinSegments, 16)
	or(&c.MinPieces, 8)
	return c
}

func or[T int | int64](value *T, otherwise T) {
	if *value == 0 {
		*value = otherwise
	}
}

// Bounds of what is done at once.
const (
	// footerBytes bounds the footers that are kept: of captured segments with
	// thousands of streams they come to more than their blocks.
	footerBytes = 6 << 20
	// maxPieces is how many pieces a stream may have, on the average, in sorted
	// segments that are merged: about as many objects are read at once.
	maxPieces = 32
	// joinFrom is the size in bytes, uncompressed, from which a block is copied as
	// it is, and joinTo that at which one that is made of smaller ones is closed.
	joinFrom, joinTo = 1 << 20, 4 << 20
	// doneShare is which share of TargetBytes is enough for a stream in a segment.
	doneShare = 4
)

// Result is what was merged.
type Result struct {
	Merges  int   // groups of segments
	Read    int   // segments that are replaced
	Written int   // segments, which is also how many entries were appended
	Bytes   int64 // of the segments that were written
	Dropped int   // groups that somebody else has moved meanwhile
	Damaged int   // segments that were left alone, since they cannot be read
	// Reencoded are the stored bytes of blocks before they were re-encoded, and Unproven
	// how many were not, since what came out could not be proven to be the same.
	Reencoded int64
	Unproven  int
	Left      int // segments from which data is read now
}

// Merger merges one repository. It is not safe for concurrent use.
type Merger struct {
	repo   *manifest.Repository
	config Config
	agent  *manifest.Agent // until it has been stated
	log    *slog.Logger
	now    func() time.Time

	chain *manifest.Log // nil until it has been read, and after errors
	inv   *inventory
	count uint64 // of own segments
	pace  *pace
}

// New returns a merger that has read nothing yet.
func New(repo *manifest.Repository, config Config, agent manifest.Agent, log *slog.Logger, now func() time.Time) *Merger {
	return &Merger{repo: repo, config: config.withDefaults(), agent: &agent, log: log, now: now, pace: newPace(config.MaxBandwidth)}
}

// enough is how many bytes of a stream in one segment are not worth being moved again.
func (m *Merger) enough() int64 { return m.config.TargetBytes / doneShare }

// errStale: what was to be moved is not where it was any more.
var errStale = errors.New("somebody else has moved it meanwhile")

// Run merges what can be merged now. It may be called again, and goes on from
// where it was. Ending ctx leaves nothing behind but perhaps a segment that no entry names.
func (m *Merger) Run(ctx context.Context) (Result, error) {
	var r Result
	if err := m.follow(ctx); err != nil {
		return r, err
	}
	for {
		g, err := m.next(ctx)
		if err == nil && g == nil {
			r.Left = len(m.inv.captured) + len(m.inv.homes())
			return r, nil
		}
		if err == nil {
			err = m.merge(ctx, g, &r)
		}
		var d *manifest.Damage
		switch {
		case err == nil:
			r.Merges++
		case errors.Is(err, errStale):
			m.log.Info("dropped a merge", "reason", err)
			r.Dropped++
		case errors.As(err, &d) && strings.HasPrefix(d.Key, manifest.SegmentPrefix):
			m.log.Error("a segment cannot be merged", "error", err)
			m.inv.setBad(d.Key)
			r.Damaged++
		default:
			m.chain = nil // whether the last entry is there is not known
			return r, err
		}
	}
}

// Plan returns what Run would merge first, without what follows from it. It
// changes nothing.
func (m *Merger) Plan(ctx context.Context) ([]Planned, error) {
	if err := m.follow(ctx); err != nil {
		return nil, err
	}
	var list []Planned
	for left := m.inv.captured; ; {
		chosen := m.chooseCaptured(left)
		if len(chosen) == 0 {
			break
		}
		p := Planned{Segments: len(chosen)}
		for i := range chosen {
			p.Bytes += chosen[i].ref.Size
		}
		list, left = append(list, p), left[len(chosen):]
	}
	for _, tier := range m.inv.tiers(m.enough()) {
		if chosen := m.chooseSorted(tier); chosen != nil {
			p := Planned{Sorted: true, Segments: len(chosen)}
			for _, s := range chosen {
				p.Bytes += s.home.Ref.Size
			}
			list = append(list, p)
		}
	}
	return list, nil
}

// Planned is a group of segments that would be merged.
type Planned struct {
	Sorted   bool // already, by merges before
	Segments int
	Bytes    int64
}

// follow reads what of the log is not known yet.
func (m *Merger) follow(ctx context.Context) error {
	if m.chain != nil {
		err := m.chain.CatchUp(ctx)
		if err != nil {
			m.chain = nil
		}
		return err
	}
	m.inv = newInventory()
	chain, err := m.repo.Follow(ctx, m.now, m.inv.add)
	if err != nil {
		return err
	}
	m.chain, m.count = chain, 0
	return nil
}

// next chooses what to merge, or returns nil.
func (m *Merger) next(ctx context.Context) (*group, error) {
	if list := m.chooseCaptured(m.inv.captured); len(list) > 0 {
		return m.groupCaptured(ctx, slices.Clone(list))
	}
	for _, tier := range m.inv.tiers(m.enough()) {
		if chosen := m.chooseSorted(tier); chosen != nil {
			return m.groupSorted(ctx, chosen)
		}
	}
	return nil, nil
}

// chooseCaptured returns the first segments of a list that are to be sorted
// together: old enough and inside a recovery point, as many as fit into memory.
func (m *Merger) chooseCaptured(list []captured) []captured {
	points := m.chain.State().Points
	if len(points) == 0 {
		return nil
	}
	covered, old := points[len(points)-1].Sequence, m.now().Add(-m.config.MinAge).UnixMilli()
	n, size, footers := 0, int64(0), int64(0)
	for n < len(list) && list[n].entry <= covered && list[n].time <= old {
		ref := &list[n].ref
		if n > 0 && (size+ref.Size > m.config.SortBytes || footers+ref.FooterLength > footerBytes) {
			return list[:n]
		}
		size += ref.Size
		footers += ref.FooterLength
		n++
	}
	if n < m.config.MinSegments && size < m.config.SortBytes {
		return nil // more will come
	}
	return list[:n]
}

// chooseSorted returns the first segments of a tier, so many that streams have pieces
// in several of them, but not in too many, or nil if there are not enough.
func (m *Merger) chooseSorted(tier []*sorted) []*sorted {
	streams, pieces, n, footers := make(map[int]bool), 0, 0, int64(0)
	for _, s := range tier {
		fresh := 0
		for _, stream := range s.streams {
			if !streams[stream] {
				fresh++
			}
		}
		footers += s.home.Ref.FooterLength
		if n > 1 && (pieces+len(s.streams) > maxPieces*(len(streams)+fresh) || footers > footerBytes) {
			break
		}
		for _, stream := range s.streams {
			streams[stream] = true
		}
		pieces += len(s.streams)
		n++
	}
	if n < 2 || pieces < m.config.MinPieces*len(streams) {
		return nil
	}
	return tier[:n]
}
