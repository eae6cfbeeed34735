package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

// Repairer gives damaged segments back the bytes that their digests demand, from
// the cluster that they were captured from. It only reads from that.
type Repairer struct {
	Repository *manifest.Repository
	Cluster    *kafka.Cluster
	DryRun     bool // say what could be mended
	Log        *slog.Logger
	Patience   time.Duration
	Progress   func(done, total int64) // of the verification before; may be nil
}

// Repair is what became of the damages.
type Repair struct {
	Damages []Mended
	Report  *Report // as it is now, or would be
}

// Mended is what became of one damage.
type Mended struct {
	Key  string
	Done []LostRange // that are back
	Left []LostRange // that are not
	Why  string      // the first reason for that
	// Entry is as DamageNote.Entries: the log cannot be mended.
	Entry uint64
}

// Run verifies every digest, and mends what it can. What a segment has
// back is proven: it has the SHA-256 that the log vouches for.
func (r *Repairer) Run(ctx context.Context) (*Repair, error) {
	report, err := Verify(ctx, r.Repository, Scope{Level: manifest.LevelDigest}, r.Progress)
	if err != nil {
		return nil, err
	}
	fetcher, err := r.Cluster.NewFetcher()
	if err != nil {
		return nil, err
	}
	defer fetcher.Close()
	res := &Repair{Report: report}
	var left []DamageNote
	for i := range report.Damages {
		d := &report.Damages[i]
		m, err := r.mend(ctx, fetcher, d)
		if err != nil {
			return nil, fmt.Errorf("mend %s: %w", d.Key, err)
		}
		if res.Damages = append(res.Damages, *m); m.Why != "" {
			note := *d
			note.Lost = m.Left
			left = append(left, note)
		}
	}
	report.Damages = left
	state, err := r.Repository.Read(ctx, report.Entries, nil)
	if err != nil {
		return nil, err
	}
	report.Restorable, err = pointRuns(ctx, r.Repository, state, left)
	return res, err
}

// mend mends one object, as far as that is possible.
func (r *Repairer) mend(ctx context.Context, fetcher *kafka.Fetcher, d *DamageNote) (*Mended, error) {
	m := &Mended{Key: d.Key, Entry: d.Entries}
	if d.Entries > 0 {
		m.Why = "nothing but a copy of the log can bring it back"
		return m, nil
	}
	if _, _, ok := manifest.ParseSegmentKey(d.Key); !ok {
		m.Why = "it is no segment: " + d.Reason
		return m, nil
	}
	footer, tail, err := r.footer(ctx, d)
	if err != nil {
		if !errors.Is(err, manifest.ErrDamaged) {
			return nil, err
		}
		m.Left, m.Why = d.Lost, fmt.Sprintf("what it held is not known without its footer: %v", err)
		return m, nil
	}
	object := &patched{store: r.Repository.Store(), key: d.Key, footer: footer, tail: tail, bytes: make(map[int64][]byte)}
	for _, l := range footer.InFileOrder() {
		lost := lostBlock(&l, nil)
		if sound, err := r.isSound(ctx, d, l.Block); err != nil {
			return nil, err
		} else if sound {
			continue
		}
		if at := slices.IndexFunc(d.Lost, func(x LostRange) bool { return x.Key == lost.Key && x.From <= lost.From && lost.To <= x.To }); at >= 0 {
			lost.inStreams = d.Lost[at].inStreams
		}
		stored, err := r.fetch(ctx, fetcher, l)
		if err != nil {
			if why := r.hopeless(err); why == "" {
				return nil, err
			} else if m.Why == "" {
				m.Why = fmt.Sprintf("%s: %s", lost, why)
			}
			m.Left = append(m.Left, lost)
			continue
		}
		object.bytes[l.Block.Position] = stored
		m.Done = append(m.Done, lost)
	}
	if len(m.Left) > 0 && len(m.Done) == 0 || r.DryRun {
		return m, nil
	}
	return m, r.replace(ctx, d, object, m)
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

// isSound says whether a block is in the object as it is to be.
func (r *Repairer) isSound(ctx context.Context, d *DamageNote, k *segment.Block) (bool, error) {
	body, err := r.Repository.Store().Get(ctx, d.Key, k.Position, k.StoredLength)
	if err != nil {
		return false, err
	}
	defer body.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, body)
	return [sha256.Size]byte(sum.Sum(nil)) == k.Digest, err
}

// Reasons why a block cannot be had from the cluster.
var (
	errOtherBytes = errors.New("the cluster has other batches there: it has compacted or recompressed them, or replaced them after an unclean leader election")
	errSealed     = errors.New("it is encrypted, and nobody can make the same bytes of it again")
	errTooOld     = errors.New("the cluster has deleted these records")
)

// hopeless says why no other attempt helps, or nothing.
func (r *Repairer) hopeless(err error) string {
	switch {
	case errors.Is(err, errOtherBytes), errors.Is(err, errTooOld), errors.Is(err, errSealed):
		return err.Error()
	case errors.Is(err, kafka.ErrTopicRecreated), errors.Is(err, kafka.ErrUnknownTopic):
		return "the topic is not in the cluster any more"
	case errors.Is(err, kafka.ErrAuthorization):
		return err.Error()
	}
	return ""
}

// fetch reads a block's batches from the cluster and returns the bytes that were
// stored of them.
func (r *Repairer) fetch(ctx context.Context, fetcher *kafka.Fetcher, l segment.Located) ([]byte, error) {
	if l.Block.Key != nil {
		return nil, errSealed
	}
	raw, err := r.batches(ctx, fetcher, l)
	if err != nil {
		return nil, err
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

// batches reads the batches of a block as the broker serves them.
func (r *Repairer) batches(ctx context.Context, fetcher *kafka.Fetcher, l segment.Located) ([]byte, error) {
	source := &live{cluster: r.Cluster, patience: Patience{r.Patience, r.Log}}
	part := &livePartition{TopicPartition: kafka.TopicPartition{Topic: l.Stream.Topic, Partition: l.Stream.Partition}, id: kafka.TopicID(l.Stream.TopicID), leader: -1}
	var raw bytes.Buffer
	for at := l.Block.Start; at < l.Block.Next && int64(raw.Len()) < l.Block.ServedLength(); {
		fp, err := source.fetch(ctx, fetcher, part, at)
		if errors.Is(err, kafka.ErrOffsetOutOfRange) {
			return nil, errTooOld
		}
		if err != nil {
			return nil, err
		}
		next := takeBatches(&raw, fp.Records, at, l.Block.Next)
		if next == at {
			return nil, errOtherBytes
		}
		at = next
	}
	if int64(raw.Len()) != l.Block.ServedLength() {
		return nil, errOtherBytes
	}
	return raw.Bytes(), nil
}
