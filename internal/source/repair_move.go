package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

// errMoved: what was to be moved is not where it was any more.
var errMoved = errors.New("somebody else has moved it meanwhile")

// moveAttempts bounds how often that is met.
const moveAttempts = 5

// salvaged is a part of a segment that is read elsewhere from now on, or is lost.
type salvaged struct {
	stretch
	block *segment.Block // copied as it is, from an object of this key
	from  store.Store    // with the block
	cut   *rebuilt       // a part of a block
	again *proven        // read from the cluster
	// why it is lost, all of it or what is before again, and what the log says of that.
	why, reason string
}

// quarantine is what is lost by the log when a repair begins.
type quarantine struct {
	refs   map[manifest.SegmentName]segment.Ref
	epochs map[streamEnd]int32 // leader epochs of the last batch before an offset
}

// streamEnd is an offset of a stream at which something ends.
type streamEnd struct {
	stream int
	next   int64
}

// follow reads the log for where everything is by now.
func (r *Repairer) follow(ctx context.Context, report *Report) error {
	if len(report.Damages) > 0 && report.Damages[0].Entries > 0 {
		return nil
	}
	r.quarantine = quarantine{make(map[manifest.SegmentName]segment.Ref), make(map[streamEnd]int32)}
	lost := make(map[string]bool)
	for i := range report.Losses {
		lost[report.Losses[i].Object] = true
	}
	for i := range report.Damages {
		for _, w := range report.Damages[i].claims {
			r.epochs[streamEnd{w.stream, w.next}] = epochUnstated
		}
	}
	r.layout = manifest.NewLayout(func(int) bool { return true })
	chain, err := r.Repository.Follow(ctx, time.Now, func(state *manifest.State, e *manifest.Entry) error {
		for i := range e.Segments {
			name := manifest.SegmentName{Writer: e.Writer, Counter: e.Segments[i].Counter}
			if lost[name.Key()] {
				r.refs[name] = e.Segments[i].Ref
			}
		}
		for i := range e.Ranges {
			end := streamEnd{e.Ranges[i].Stream, state.Streams[e.Ranges[i].Stream].Next}
			if _, wanted := r.epochs[end]; wanted && !e.Ranges[i].Spans[len(e.Ranges[i].Spans)-1].Gap {
				r.epochs[end] = state.Streams[end.stream].LeaderEpoch
			}
		}
		return r.layout.Add(e)
	})
	r.chain = chain
	return err
}

// quarantined are the segments that the log says something is lost of.
func (r *Repairer) quarantined() []manifest.SegmentName {
	var list []manifest.SegmentName
	for name := range r.refs {
		list = append(list, name)
	}
	slices.SortFunc(list, func(a, b manifest.SegmentName) int { return cmp.Compare(a.Key(), b.Key()) })
	return list
}

// move brings what is in a damaged segment into a new one, as far as it is sound or
// can be had from the cluster, and has the log state the rest as lost.
func (r *Repairer) move(ctx context.Context, d *DamageNote, footer *segment.Footer, m *Mended) error {
	writer, counter, _ := manifest.ParseSegmentKey(d.Key)
	return r.relocate(ctx, &relocation{name: manifest.SegmentName{Writer: writer, Counter: counter}, size: d.ref.Size, why: d.Reason}, m, func(job *relocation) error {
		for _, w := range d.claims {
			if !r.holds(job.name, &w) {
				continue
			}
			if epoch, known := r.epochs[streamEnd{w.stream, w.next}]; w.epoch == epochUnstated && known {
				w.epoch = epoch
			}
			if err := r.salvage(ctx, job, footer, w); err != nil {
				return err
			}
		}
		return nil
	})
}

// holds says whether a segment is where a stretch is read from.
func (r *Repairer) holds(name manifest.SegmentName, w *stretch) bool {
	if p := r.layout.At(w.stream, w.start); p != nil {
		return p.In.Name == name && !p.Lost && p.Start == w.start && p.Next() == w.next
	}
	return true
}

// salvage finds what can be had of a stretch: block by block, if its footer is there.
func (r *Repairer) salvage(ctx context.Context, job *relocation, footer *segment.Footer, w stretch) error {
	var blocks []segment.Block
	if footer != nil {
		i := slices.IndexFunc(footer.Streams, func(s segment.StreamBlocks) bool {
			return s.TopicID == w.track.key.TopicID && s.Partition == w.track.key.Partition
		})
		if i >= 0 {
			blocks, _ = coverBlocks(&footer.Streams[i], &w)
		}
	}
	if blocks == nil {
		return r.again(ctx, job, w, nil)
	}
	for i := range blocks {
		one, k := w, &blocks[i]
		one.start, one.next, one.span, one.epoch = k.Start, k.Next, manifest.Span{}, k.LeaderEpoch
		one.span.Join(k.Summary)
		sound, err := isSound(ctx, r.Repository.Store(), job.name.Key(), k)
		if err == nil && sound {
			job.parts = append(job.parts, salvaged{stretch: one, block: k, from: r.Repository.Store()})
		} else if err == nil {
			err = r.again(ctx, job, one, k)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// again looks whether the cluster still has a stretch.
func (r *Repairer) again(ctx context.Context, job *relocation, w stretch, block *segment.Block) error {
	part := salvaged{stretch: w}
	var err error
	switch part.again, err = r.reader.prove(ctx, &w, block); {
	case err != nil:
		if part.why = hopeless(err); part.why == "" {
			return err
		}
	case part.again.from > w.start:
		part.why = errTooOld.Error()
	}
	if part.reason = job.why; !job.known {
		part.reason = fmt.Sprintf("%s; %s", job.why, part.why)
	}
	job.parts = append(job.parts, part)
	return nil
}

// lift looks once more for what is lost of a segment.
func (r *Repairer) lift(ctx context.Context, name manifest.SegmentName) (*Mended, error) {
	m := &Mended{Key: name.Key()}
	ref := r.refs[name]
	footer, err := r.copied(ctx, name, ref)
	if err != nil {
		return nil, err
	}
	return m, r.relocate(ctx, &relocation{name: name, size: ref.Size, known: true}, m, func(job *relocation) error {
		state := r.chain.State()
		m.Left = nil
		for _, l := range state.Lost {
			if l.In != name {
				continue
			}
			w := claim(state, l.Stream, l.Start, l.Next(), l.Span())
			w.epoch = l.Epoch
			job.why = l.Reason
			if whole, err := r.fromCopy(ctx, job, footer, w); err != nil {
				return err
			} else if whole {
				continue
			}
			if r.reader == nil {
				m.Left, m.Quarantined = append(m.Left, LostRange{w.track.name, w.track.key, w.start, w.next, []int{w.stream}}), true
				m.Why = errNotAsked.Error()
				continue
			}
			if err := r.again(ctx, job, w, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// foretold is a state without what is lost by the log and would be back, of the segments
// that a dry run has looked for.
func foretold(state *manifest.State, lifted map[manifest.SegmentName]*Mended) *manifest.State {
	after := *state
	after.Lost = nil
	for _, l := range state.Lost {
		m := lifted[l.In]
		if m == nil {
			after.Lost = append(after.Lost, l)
			continue
		}
		for _, left := range m.Left {
			if left.inStreams[0] == l.Stream && left.From == l.Start { // what comes back of a part is its end
				l.Offsets = left.To - left.From
				after.Lost = append(after.Lost, l)
			}
		}
	}
	return &after
}

// copied returns the footer of the copy's segment, or nil.
func (r *Repairer) copied(ctx context.Context, name manifest.SegmentName, ref segment.Ref) (*segment.Footer, error) {
	if r.Replica == nil {
		return nil, nil
	}
	footer, err := r.Replica.ReadFooter(ctx, name.Key(), ref)
	if errors.Is(err, manifest.ErrDamaged) {
		return nil, nil
	}
	return footer, err
}

// fromCopy takes the blocks of what is lost from the copy, if it has all of them.
func (r *Repairer) fromCopy(ctx context.Context, job *relocation, footer *segment.Footer, w stretch) (whole bool, err error) {
	if footer == nil {
		return false, nil
	}
	i := slices.IndexFunc(footer.Streams, func(s segment.StreamBlocks) bool {
		return s.TopicID == w.track.key.TopicID && s.Partition == w.track.key.Partition
	})
	if i < 0 {
		return false, nil
	}
	var parts []salvaged
	at := w.start
	for j := range footer.Streams[i].Blocks {
		k := &footer.Streams[i].Blocks[j]
		if k.Start > at || k.Next <= at || at == w.next {
			continue
		}
		sound, err := isSound(ctx, r.Replica.Store(), job.name.Key(), k)
		if err != nil || !sound {
			return false, err
		}
		one := w
		one.start, one.next, one.span = at, min(k.Next, w.next), manifest.Span{}
		part := salvaged{from: r.Replica.Store(), block: k}
		sum := k.Summary
		if k.Start < at || k.Next > w.next {
			if part, err = r.cut(ctx, job.name.Key(), k, at, one.next); err != nil || part.cut == nil {
				return false, err
			}
			sum = part.cut.sum
		}
		one.span.Join(sum)
		part.stretch = one
		parts = append(parts, part)
		at = one.next
	}
	if at != w.next {
		return false, nil
	}
	job.parts = append(job.parts, parts...)
	return true, nil
}

// cut takes the batches of the offsets [start, next) out of a block of the copy. Without
// them beginning and ending there, or if the block is sealed or re-encoded, it takes none.
func (r *Repairer) cut(ctx context.Context, key string, k *segment.Block, start, next int64) (part salvaged, err error) {
	if k.Key != nil || k.Codec == segment.Reencoded {
		return part, nil
	}
	stored, err := readBlock(ctx, r.Replica.Store(), key, k)
	if err != nil {
		return part, err
	}
	dec, err := segment.NewDecoder()
	if err != nil {
		return part, err
	}
	raw, err := dec.Decode(k, stored, nil)
	if err != nil {
		return part, manifest.BlockError(key, k, err)
	}
	b := newRebuilt(start)
	for len(raw) > 0 {
		h, one, rest, err := batch.Next(raw)
		if err != nil {
			return part, err
		}
		raw = rest
		switch {
		case h.NextOffset() <= start || h.BaseOffset >= next:
		case h.BaseOffset < start && start > k.Start || h.NextOffset() > next:
			return part, nil
		default:
			if err := b.add(&h, one); err != nil {
				return part, err
			}
		}
	}
	if b.sum.Batches == 0 {
		return part, nil
	}
	b.sum = b.summary(next)
	return salvaged{cut: b}, nil
}

// relocation is what becomes of one segment.
type relocation struct {
	name  manifest.SegmentName
	size  int64
	why   string // it is damaged
	known bool   // the log says already why it is lost
	parts []salvaged
}

// relocate has the parts found, writes what can be had, and says all of it in one
// entry. Of two who do so at the same time, one begins anew.
func (r *Repairer) relocate(ctx context.Context, job *relocation, m *Mended, find func(*relocation) error) error {
	for n := 1; ; n++ {
		job.parts = nil
		if !r.chain.State().Readable(job.name.Writer, job.name.Counter) { // it was removed meanwhile
			return nil
		}
		if err := find(job); err != nil || len(job.parts) == 0 {
			return err
		}
		slices.SortFunc(job.parts, func(a, b salvaged) int { return cmp.Or(cmp.Compare(a.stream, b.stream), cmp.Compare(a.start, b.start)) })
		err := r.write(ctx, job)
		if errors.Is(err, errMoved) && n < moveAttempts {
			continue
		}
		if err == nil {
			job.tell(m)
		}
		return err
	}
}

// tell says what became of the parts, in the order in which people look for them.
func (job *relocation) tell(m *Mended) {
	slices.SortFunc(job.parts, func(a, b salvaged) int {
		return cmp.Or(cmp.Compare(a.track.name, b.track.name), cmp.Compare(a.track.key.Partition, b.track.key.Partition), cmp.Compare(a.start, b.start))
	})
	whys := make(map[string][]string) // what is lost by why
	for i := range job.parts {
		p := &job.parts[i]
		lost := LostRange{p.track.name, p.track.key, p.start, p.next, []int{p.stream}}
		if p.block != nil || p.cut != nil {
			m.Moved = append(m.Moved, lost)
			continue
		}
		if p.again != nil {
			back := lost
			back.From, lost.To = p.again.from, p.again.from
			m.Moved = append(m.Moved, back)
		}
		if lost.From < lost.To {
			m.Left, m.Quarantined = append(m.Left, lost), true
			whys[p.why] = append(whys[p.why], lost.String())
		}
	}
	var texts []string
	for _, why := range slices.Sorted(maps.Keys(whys)) {
		texts = append(texts, fmt.Sprintf("%s: %s", strings.Join(whys[why], ", "), why))
	}
	m.Why = cmp.Or(m.Why, strings.Join(texts, "; "))
}

// losses are what of the parts is lost.
func (job *relocation) losses() (list []manifest.Loss) {
	for i := range job.parts {
		p := &job.parts[i]
		l := manifest.Loss{
			Stream: p.stream, Start: p.start, Offsets: p.span.Offsets, Records: p.span.Records, MinTimestamp: p.span.MinTimestamp, MaxTimestamp: p.span.MaxTimestamp,
			Epoch: max(p.epoch, -1), In: job.name, Reason: shortened(p.reason),
		}
		if p.again != nil {
			l.Offsets, l.Records, l.Epoch = p.again.from-p.start, p.span.Records-p.again.span.Records, -1
		}
		if p.block == nil && p.cut == nil && l.Offsets > 0 {
			list = append(list, l)
		}
	}
	return list
}

// shortened keeps a reason within what the log takes.
func shortened(why string) string {
	const most = 400
	if len(why) <= most {
		return why
	}
	return why[:most] + "…"
}
