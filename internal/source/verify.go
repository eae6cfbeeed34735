package source

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

// Report is the outcome of a verification.
type Report struct {
	Entries  uint64 // of the log
	Points   int
	Segments int64
	Blocks   int64
	Batches  int64
	Records  int64 // in data batches, decoded one by one
	Bytes    int64 // stored bytes of segments
	Gaps     []GapNote
	Damages  []DamageNote
	Orphans  []Orphan // by key
}

// DamageNote is an object that is damaged or missing, and what it costs.
type DamageNote struct {
	Key    string
	Reason string
	Lost   []string // TOPIC-PARTITION [from,to)
}

// Verify reads everything that the log names and checks it: the chain of the
// log, digests, tiling, decompression, batch CRCs, every record's encoding,
// ascending offsets, counts, and that log and footers say the same. What no log
// entry names is listed. What it finds is in the report; the error is about the verification itself. progress,
// which may be nil, is called with stored bytes done and known so far.
func Verify(ctx context.Context, repo *manifest.Repository, progress func(done, total int64)) (*Report, error) {
	v := &verifier{repo: repo, store: repo.Store(), decoder: batch.NewDecoder(), report: &Report{}, progress: progress}
	sound := uint64(0)
	var err error
	if v.snapshots, err = repo.NewSnapshotCheck(ctx); err != nil {
		return nil, err
	}
	total, err := repo.Read(ctx, 0, nil)
	if err == nil {
		// Listed here, and not before or after: what is named meanwhile is met below.
		v.orphans, err = findOrphans(ctx, v.store, total)
	} else if sound, err = v.damagedLog(err); err == nil && sound > 0 {
		total, err = repo.Read(ctx, sound, nil)
	} else if err == nil {
		return v.report, nil
	}
	if err != nil {
		return nil, err
	}
	v.total, v.named, v.removed = total.SegmentBytes, total.Segments, total.Pending()
	if v.layout, err = repo.ReadLayout(ctx, func(int) bool { return true }); err != nil {
		_, err = v.damagedLog(err)
		return v.report, err
	}
	if v.blocks, err = segment.NewDecoder(); err != nil {
		return nil, err
	}
	state, err := repo.Read(ctx, sound, func(state *manifest.State, e *manifest.Entry) error { return v.entry(ctx, state, e) })
	if state != nil {
		v.report.Entries, v.report.Points = state.Sequence, len(state.Points)
		if err == nil && sound == 0 {
			v.snapshots.End(state.Sequence)
		}
	}
	v.noteSnapshots()
	if err != nil {
		if _, err = v.damagedLog(err); err != nil {
			return nil, err
		}
		return v.report, nil
	}
	v.report.Orphans = sortedOrphans(v.orphans)
	return v.report, nil
}

// damagedLog notes damage of the log itself, behind which nothing can be read,
// and returns how many entries come before it.
func (v *verifier) damagedLog(err error) (sound uint64, other error) {
	var d *manifest.Damage
	if !errors.As(err, &d) {
		return 0, err
	}
	v.report.Damages = append(v.report.Damages, DamageNote{Key: d.Key, Reason: d.Err.Error(), Lost: []string{"everything from this log entry on"}})
	sound, _ = d.Sound()
	return sound, nil
}

// noteSnapshots reports what is wrong with snapshots of the log.
func (v *verifier) noteSnapshots() {
	for _, d := range v.snapshots.Damages {
		v.report.Damages = append(v.report.Damages, DamageNote{Key: d.Key, Reason: d.Err.Error(), Lost: []string{}})
	}
}

type verifier struct {
	repo     *manifest.Repository
	store    store.Store
	blocks   *segment.Decoder
	decoder  *batch.Decoder
	report   *Report
	orphans  map[string]Orphan // as far as the log has been read
	progress func(done, total int64)
	total    int64

	snapshots *manifest.SnapshotCheck
	gaps      int // that the report has

	layout  *manifest.Layout
	named   manifest.SegmentSet // that the log names, but for those that are deleted
	removed manifest.SegmentSet // from which nobody may read any more
}

func (v *verifier) entry(ctx context.Context, state *manifest.State, e *manifest.Entry) error {
	if err := v.snapshots.Entry(ctx, state, e); err != nil {
		return err
	}
	for i := range e.Segments {
		key := manifest.SegmentKey(e.Writer, e.Segments[i].Counter)
		delete(v.orphans, key)
		if c := e.Segments[i].Counter; !v.named.Has(e.Writer, c) || v.removed.Has(e.Writer, c) {
			continue
		}
		stretches := claims(state, e, i)
		bad, err := v.segment(ctx, key, e.Segments[i].Ref, stretches)
		if isCorrupt(err) {
			err = &manifest.Damage{Key: key, Err: err}
		}
		var d *manifest.Damage
		if errors.As(err, &d) && len(bad) == 0 {
			bad = lost(state, stretches)
		} else if err != nil && d == nil {
			return err
		}
		if d != nil {
			v.report.Damages = append(v.report.Damages, DamageNote{key, d.Err.Error(), bad})
		}
		v.report.Segments++
		v.report.Bytes += e.Segments[i].Size
		if v.progress != nil {
			v.progress(v.report.Bytes, v.total)
		}
	}
	if err := v.moves(state, e); err != nil {
		return err
	}
	for i := range state.Gaps[v.gaps:] {
		v.report.Gaps = append(v.report.Gaps, noteOf(state, &state.Gaps[v.gaps+i]))
	}
	v.gaps = len(state.Gaps)
	return nil
}

// moves checks that what was moved is in the place of what the entry adds.
func (v *verifier) moves(state *manifest.State, e *manifest.Entry) error {
	for i := range e.Ranges {
		r := &e.Ranges[i]
		at := state.Start(r)
		for _, sp := range r.Spans {
			next := at + sp.Offsets
			if !sp.Gap {
				_, err := v.layout.Find(r.Stream, at, sp)
				var d *manifest.Damage
				if errors.As(err, &d) {
					w := stretch{branch: branch{stream: r.Stream}, start: at, next: next}
					v.report.Damages = append(v.report.Damages, DamageNote{d.Key, d.Err.Error(), lost(state, []stretch{w})})
				} else if err != nil {
					return err
				}
			}
			at = next
		}
	}
	return nil
}

// claims returns what the entry says that segment i holds.
func claims(state *manifest.State, e *manifest.Entry, i int) []stretch {
	var list []stretch
	for j := range e.Ranges {
		r := &e.Ranges[j]
		at := state.Start(r)
		last := len(r.Spans) - 1
		for last > 0 && r.Spans[last].Gap {
			last--
		}
		for n, sp := range r.Spans {
			if !sp.Gap && sp.Segment == i {
				t := &track{key: state.Key(r.Stream)}
				w := stretch{branch{r.Stream, at, at + sp.Offsets}, t, at, at + sp.Offsets, sp, epochUnstated}
				if n == last {
					w.epoch = state.Streams[r.Stream].LeaderEpoch
				}
				list = append(list, w)
			}
			at += sp.Offsets
		}
	}
	if e.Moves == nil {
		return list
	}
	for _, m := range e.Moves.List {
		if m.Span.Segment == i {
			list = append(list, stretch{branch{m.Stream, m.Start, m.Next()}, &track{key: state.Key(m.Stream)}, m.Start, m.Next(), m.Span, epochUnstated})
		}
	}
	return list
}

func lost(state *manifest.State, stretches []stretch) []string {
	list := []string{}
	for _, w := range stretches {
		st := &state.Streams[w.stream]
		list = append(list, fmt.Sprintf("%s-%d [%d,%d)", state.Topics[st.Topic].Name, st.Partition, w.start, w.next))
	}
	return list
}

// segment checks one object. Damage wraps segment.ErrCorrupt; bad are the
// blocks that are lost to it, or empty if that is all of them.
func (v *verifier) segment(ctx context.Context, key string, ref segment.Ref, stretches []stretch) (bad []string, err error) {
	info, err := v.store.Stat(ctx, key)
	if errors.Is(err, store.ErrNotExist) {
		return nil, fmt.Errorf("%w: missing", segment.ErrCorrupt)
	}
	if err != nil {
		return nil, fmt.Errorf("look up segment %s: %w", key, err)
	}
	if info.Size != ref.Size {
		return nil, fmt.Errorf("%w: %d bytes instead of %d", segment.ErrCorrupt, info.Size, ref.Size)
	}
	footer, err := v.repo.ReadFooter(ctx, key, ref)
	if err != nil {
		return nil, err
	}
	parts, err := match(footer, stretches)
	if err != nil {
		return nil, err
	}
	all := footer.InFileOrder()
	if len(all) != len(parts) {
		return nil, fmt.Errorf("%w: it holds %d blocks, the log knows of %d", segment.ErrCorrupt, len(all), len(parts))
	}
	body, err := v.store.Get(ctx, key, 0, ref.Size-ref.TailLength())
	if err != nil {
		return nil, fmt.Errorf("read segment %s: %w", key, err)
	}
	defer body.Close()
	header, err := segment.ReadExactly(body, segment.HeaderSize)
	if err != nil {
		return nil, fmt.Errorf("read segment %s: %w", key, err)
	}
	if err := segment.CheckHeader(header); err != nil {
		return nil, err
	}
	return v.body(body, key, all)
}

// body checks the blocks, each for itself. The error is about the first bad one.
func (v *verifier) body(body io.Reader, key string, all []segment.Located) (bad []string, first error) {
	for _, l := range all {
		stored, err := segment.ReadExactly(body, l.Block.StoredLength)
		if err != nil {
			err = manifest.BlockError(key, l.Block, err) // the same holds for all that follow
		} else {
			err = v.block(stored, l.Block)
		}
		if err == nil {
			continue
		}
		place := fmt.Sprintf("%s-%d [%d,%d)", l.Stream.Topic, l.Stream.Partition, l.Block.Start, l.Block.Next)
		if err = fmt.Errorf("%s: %w", place, err); !isCorrupt(err) {
			return nil, err
		}
		if first == nil {
			first = err
		}
		bad = append(bad, place)
	}
	return bad, first
}

func (v *verifier) block(stored []byte, k *segment.Block) error {
	raw, err := v.blocks.Decode(k, stored, nil)
	if err != nil {
		return err
	}
	if err := v.batches(raw, k); err != nil {
		return fmt.Errorf("%w: %w", segment.ErrCorrupt, err)
	}
	v.report.Blocks++
	v.report.Batches += k.Batches
	v.report.Records += k.Records
	return nil
}

// batches walks the batches of a block, decodes their records and compares with
// the footer.
func (v *verifier) batches(raw []byte, k *segment.Block) error {
	at := int64(-1)
	count := newRecount(k)
	for rest := raw; len(rest) > 0; {
		h, one, after, err := batch.Next(rest)
		if err != nil {
			return err
		}
		if h.BaseOffset < at || h.NextOffset() > k.Next || h.NextOffset() <= k.Start || at >= 0 && h.BaseOffset < k.Start {
			return fmt.Errorf("batch [%d,%d) after offset %d in a block of [%d,%d)", h.BaseOffset, h.NextOffset(), at, k.Start, k.Next)
		}
		if err := v.decoder.Decode(one, func(*batch.Record) error { return nil }); err != nil {
			return err
		}
		if err := count.add(&h, one); err != nil {
			return err
		}
		at, rest = h.NextOffset(), after
	}
	return count.compare()
}
