package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

// Repairer brings back what is damaged: from a copy of the repository, or from
// the cluster that it was captured from. It only reads from those.
type Repairer struct {
	Repository *manifest.Repository // its own: not that of somebody who captures
	Cluster    *kafka.Cluster       // nil: it is gone, or cannot be asked, so that what Replica lacks stays as it is
	Replica    *manifest.Repository // a copy; may be nil
	DryRun     bool                 // say what could be mended
	Agent      manifest.Agent
	Log        *slog.Logger
	Patience   time.Duration
	Progress   func(done, total int64)                  // of the verification before; may be nil
	Keeping    func(points []manifest.PointRef) Keeping // as in Scope
	LogNeeds   func(newest manifest.PointRef) LogNeeds  // likewise

	reader *rereader
	chain  *manifest.Log    // nil if the log is damaged
	layout *manifest.Layout // of what was moved, as of the chain
	quarantine
	count uint64 // of own segments
}

// Repair is what became of the damages.
type Repair struct {
	Damages []Mended
	Report  *Report // as it is now, or would be
}

// Mended is what became of one damage, or of what was lost before in one segment.
type Mended struct {
	Key   string
	Done  []LostRange // that are back, where they were
	Moved []LostRange // that are back, in a new segment
	Left  []LostRange // that are not
	Why   string      // the reasons for that
	// Quarantined: the log states what is left, or would, so that nobody is misled.
	Quarantined bool
	// Entry is that of the log which was lost, or else 0.
	Entry uint64
}

// Run verifies every digest, and mends what it can. What cannot be had again the
// log states as lost, and what it states so already is looked for once more.
func (r *Repairer) Run(ctx context.Context) (*Repair, error) {
	res := &Repair{}
	if err := r.verify(ctx, res); err != nil {
		return nil, err
	}
	report := res.Report
	if r.Cluster != nil {
		fetcher, err := r.Cluster.NewFetcher()
		if err != nil {
			return nil, err
		}
		defer fetcher.Close()
		r.reader = &rereader{&live{cluster: r.Cluster, patience: Patience{r.Patience, r.Log}}, fetcher}
	}
	if len(report.Damages) == 0 && len(report.Losses) == 0 {
		return res, nil
	}
	if err := r.follow(ctx, report); err != nil {
		return nil, err
	}
	var left []DamageNote
	for i := range report.Damages {
		d := &report.Damages[i]
		if i > 0 && d.Entries > 0 { // nobody can say more of it before the first one is mended
			if res.Damages[0].Why != "" {
				res.Damages, left = append(res.Damages, Mended{Key: d.Key, Entry: d.Entries, Why: whyBehind}), append(left, *d)
			}
			continue
		}
		m, err := r.mend(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("mend %s: %w", d.Key, err)
		}
		if res.Damages = append(res.Damages, *m); m.Why != "" && (r.DryRun || !m.Quarantined) {
			note := *d
			note.Lost = m.Left
			left = append(left, note)
		}
	}
	lifted := make(map[manifest.SegmentName]*Mended)
	for _, name := range r.quarantined() {
		m, err := r.lift(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("mend %s: %w", name.Key(), err)
		}
		lifted[name] = m
		res.Damages = append(res.Damages, *m)
	}
	report.Damages = left
	state := r.Repository.Tail().State()
	if upTo := r.reached(report); upTo > 0 {
		var err error
		if state, err = r.Repository.Read(ctx, upTo, nil); err != nil {
			return nil, err
		}
	}
	if r.DryRun {
		state = foretold(state, lifted)
	}
	return res, report.weigh(ctx, r.Repository, state)
}

// reached is the entry up to which the log says what is lost.
func (r *Repairer) reached(report *Report) uint64 {
	if r.chain == nil {
		return report.Entries
	}
	return r.chain.State().Sequence
}

// mend mends one object, as far as that is possible.
func (r *Repairer) mend(ctx context.Context, d *DamageNote) (*Mended, error) {
	m := &Mended{Key: d.Key, Entry: d.Entries}
	if d.Entries > 0 {
		_, why, err := r.lostEntries(ctx, d.Entries)
		m.Why = why
		return m, err
	}
	if _, _, ok := manifest.ParseSegmentKey(d.Key); !ok {
		m.Left, m.Why = d.Lost, "it is no segment: "+d.Reason
		return m, nil
	}
	if d.contradicts {
		m.Left, m.Why = d.Lost, "it is what its digests say, so that nothing else can take its place: "+d.Reason
		return m, nil
	}
	if whole, err := r.fromReplica(ctx, d, m); err != nil || whole {
		return m, err
	}
	footer, tail, err := r.footer(ctx, d)
	if err != nil && !errors.Is(err, manifest.ErrDamaged) {
		return nil, err
	}
	if err == nil {
		if whole, err := r.putBack(ctx, d, footer, tail, m); err != nil || whole {
			return m, err
		}
	}
	if r.reader == nil {
		m.Left, m.Why = d.Lost, errNotAsked.Error()
		return m, nil
	}
	if r.chain == nil {
		m.Left, m.Why = d.Lost, "the log is damaged, so that nothing can be said in it"
		return m, nil
	}
	return m, r.move(ctx, d, footer, m)
}

// putBack gives the object the bytes that its digests demand, if the cluster has
// all of them: sealed ones nobody can make again.
func (r *Repairer) putBack(ctx context.Context, d *DamageNote, footer *segment.Footer, tail []byte, m *Mended) (whole bool, err error) {
	object := &patched{store: r.Repository.Store(), key: d.Key, footer: footer, tail: tail, bytes: make(map[int64][]byte)}
	var done []LostRange
	for _, l := range footer.InFileOrder() {
		if sound, err := isSound(ctx, r.Repository.Store(), d.Key, l.Block); err != nil {
			return false, err
		} else if sound {
			continue
		}
		stored, err := r.fetch(ctx, l)
		if err != nil {
			if hopeless(err) == "" {
				return false, err
			}
			return false, nil
		}
		object.bytes[l.Block.Position] = stored
		done = append(done, lostBlock(&l, nil))
	}
	if m.Done = done; r.DryRun {
		return true, nil
	}
	return true, r.replace(ctx, d, object)
}

// footer reads a segment's footer, and makes its trailer anew if only that is damaged.
func (r *Repairer) footer(ctx context.Context, d *DamageNote) (*segment.Footer, []byte, error) {
	ref := d.ref.Ref
	body, err := r.Repository.Store().Get(ctx, d.Key, ref.Size-ref.TailLength(), ref.TailLength())
	if errors.Is(err, store.ErrNotExist) || errors.Is(err, store.ErrRange) {
		return nil, nil, &manifest.Damage{Key: d.Key, Err: err}
	}
	if err != nil {
		return nil, nil, err
	}
	defer body.Close()
	tail, err := io.ReadAll(body)
	if err != nil {
		return nil, nil, err
	}
	tail = segment.WithTrailer(tail[:min(int64(len(tail)), ref.FooterLength)])
	footer, err := r.Repository.OpenFooter(ctx, d.Key, ref, tail)
	return footer, tail, err
}

// isSound says whether a block is in an object as it is to be.
func isSound(ctx context.Context, st store.Store, key string, k *segment.Block) (bool, error) {
	body, err := st.Get(ctx, key, k.Position, k.StoredLength)
	if errors.Is(err, store.ErrNotExist) || errors.Is(err, store.ErrRange) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer body.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, body)
	return isDigest(sum, k.Digest), err
}

// Reasons why a block cannot be had from the cluster.
var (
	errOtherBytes = errors.New("the cluster has other batches there: it has compacted or recompressed them, or replaced them after an unclean leader election")
	errSealed     = errors.New("it is encrypted, and nobody can make the same bytes of it again")
	errTooOld     = errors.New("the cluster has deleted these records")
	// Without a cluster nothing is given up: it may have it still.
	errNotAsked = errors.New("the copy does not have it as it was, and the cluster was not asked")
)

// hopeless says why no other attempt helps, or nothing.
func hopeless(err error) string {
	for _, why := range []error{errOtherBytes, errTooOld, errSealed, errUnproven, errNotAsked} {
		if errors.Is(err, why) {
			return why.Error()
		}
	}
	switch {
	case errors.Is(err, kafka.ErrTopicRecreated), errors.Is(err, kafka.ErrUnknownTopic):
		return "the topic is not in the cluster any more"
	case errors.Is(err, kafka.ErrAuthorization):
		return err.Error()
	}
	return ""
}

// fetch reads a block's batches from the cluster and returns the bytes that were
// stored of them.
func (r *Repairer) fetch(ctx context.Context, l segment.Located) ([]byte, error) {
	if l.Block.Key != nil {
		return nil, errSealed
	}
	if r.reader == nil {
		return nil, errNotAsked
	}
	var raw []byte
	w := stretchOf(&l)
	from, err := r.reader.each(ctx, &w, func(_ *batch.Header, one []byte) error {
		if raw = append(raw, one...); int64(len(raw)) > l.Block.ServedLength() {
			return errOtherBytes
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if from > w.start {
		return nil, errTooOld
	}
	stored, k := raw, segment.Block{Summary: l.Block.Summary}
	level := segment.DefaultLevel
	if l.Block.Codec == segment.Reencoded {
		level, k.Served = segment.ReencodeLevel, l.Block.Served
		if raw, err = opened(raw); err != nil {
			return nil, err
		}
	}
	if l.Block.Codec != segment.Stored {
		enc, err := segment.NewEncoder(level)
		if err != nil {
			return nil, err
		}
		if stored, err = enc.Encode(&k, raw, true); err != nil {
			return nil, err
		}
	}
	if sha256.Sum256(stored) != l.Block.Digest {
		return nil, errOtherBytes
	}
	return stored, nil
}

// stretchOf is what a block holds.
func stretchOf(l *segment.Located) stretch {
	t := &track{name: l.Stream.Topic, key: manifest.StreamKey{TopicID: l.Stream.TopicID, Partition: l.Stream.Partition}}
	sp := manifest.Span{}
	sp.Join(l.Block.Summary)
	return stretch{branch{-1, l.Block.Start, l.Block.Next}, t, l.Block.Start, l.Block.Next, sp, l.Block.LeaderEpoch}
}
