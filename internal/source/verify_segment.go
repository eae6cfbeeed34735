package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

// checker looks at one segment at a time.
type checker struct {
	*manifest.Repository
	level   manifest.Level
	blocks  *segment.Decoder
	decoder *batch.Decoder
	sum     hash.Hash
	buffer  []byte
}

// hashAtOnce is how many bytes are read and hashed at once.
const hashAtOnce = 256 << 10

// ready returns one with all that its level takes.
func (c checker) ready() (*checker, error) {
	var err error
	switch c.level {
	case manifest.LevelDigest:
		c.sum, c.buffer = sha256.New(), make([]byte, hashAtOnce)
	case manifest.LevelDecode:
		c.decoder = batch.NewDecoder()
		c.blocks, err = segment.NewDecoder()
	}
	return &c, err
}

// finding is what is found in a segment.
type finding struct {
	damage                   *manifest.Damage // the first one, or nil
	position                 int64
	contradicts              bool        // the footer is sound, and not what the log says
	lost                     []LostRange // to it and later ones; empty if that is everything
	blocks, batches, records int64       // that are sound
}

var errMissing = fmt.Errorf("%w: missing", segment.ErrCorrupt)

// fail takes in what is damage, and returns everything else.
func (f *finding) fail(key string, err error) error {
	var d *manifest.Damage
	if !errors.As(err, &d) {
		if !isCorrupt(err) {
			return err
		}
		d = &manifest.Damage{Key: key, Err: err}
	}
	if f.damage == nil {
		f.damage = d
	}
	return nil
}

// segment looks at one object.
func (c *checker) segment(ctx context.Context, j *errand, f *finding) error {
	ref := j.ref.Ref
	footer, err := c.ReadFooter(ctx, j.key, ref)
	if err == nil {
		err = tally(footer, j.claims)
		f.contradicts = err != nil
	}
	if err != nil {
		if f.position = ref.Size - ref.TailLength(); errors.Is(err, store.ErrNotExist) {
			f.position = 0
		}
		return f.fail(j.key, err)
	}
	all := footer.InFileOrder()
	if c.level == manifest.LevelIndex {
		f.blocks = int64(len(all))
		return nil
	}
	body, err := c.Store().Get(ctx, j.key, 0, ref.Size-ref.TailLength())
	if err != nil {
		return fmt.Errorf("read segment %s: %w", j.key, err)
	}
	defer body.Close()
	header, err := segment.ReadExactly(body, segment.HeaderSize)
	if err == nil {
		err = segment.CheckHeader(header)
	}
	if isCorrupt(err) {
		return f.fail(j.key, err)
	} else if err != nil {
		return fmt.Errorf("read segment %s: %w", j.key, err)
	}
	return c.body(body, j, all, f)
}

// tally compares all of a footer with what the log says that the segment holds.
func tally(footer *segment.Footer, claims []stretch) error {
	parts, err := match(footer, claims)
	if err != nil {
		return err
	}
	if all := footer.InFileOrder(); len(all) != len(parts) {
		return fmt.Errorf("%w: it holds %d blocks, the log knows of %d", segment.ErrCorrupt, len(all), len(parts))
	}
	return nil
}

// body checks the blocks, each for itself.
func (c *checker) body(body io.Reader, j *errand, all []segment.Located, f *finding) error {
	for _, l := range all {
		err := c.block(body, j.key, l.Block, f)
		if err == nil {
			continue
		}
		lost := lostBlock(&l, j.claims)
		if f.damage == nil {
			f.position = l.Block.Position
		}
		if err := f.fail(j.key, fmt.Errorf("%s: %w", lost, err)); err != nil {
			return err
		}
		f.lost = append(f.lost, lost)
	}
	return nil
}

// lostBlock says what a block holds.
func lostBlock(l *segment.Located, claims []stretch) LostRange {
	lost := LostRange{Topic: l.Stream.Topic, Key: manifest.StreamKey{TopicID: l.Stream.TopicID, Partition: l.Stream.Partition}, From: l.Block.Start, To: l.Block.Next}
	for _, w := range claims {
		if w.track.key == lost.Key && w.start <= lost.From && lost.From < w.next {
			lost.inStreams = append(lost.inStreams, w.stream)
		}
	}
	return lost
}

// block checks what the body goes on with. If the body ends before, the same
// holds for all blocks that follow.
func (c *checker) block(body io.Reader, key string, k *segment.Block, f *finding) error {
	if c.level == manifest.LevelDigest {
		return c.digest(body, key, k, f)
	}
	stored, err := segment.ReadExactly(body, k.StoredLength)
	if err != nil {
		return manifest.BlockError(key, k, err)
	}
	raw, err := c.blocks.Decode(k, stored, nil)
	if err != nil {
		return err
	}
	if err := c.batches(raw, k); err != nil {
		return fmt.Errorf("%w: %w", segment.ErrCorrupt, err)
	}
	f.blocks++
	f.batches += k.Batches
	f.records += k.Records
	return nil
}

// digest checks the stored bytes without keeping them.
func (c *checker) digest(body io.Reader, key string, k *segment.Block, f *finding) error {
	c.sum.Reset()
	n, err := io.CopyBuffer(struct{ io.Writer }{c.sum}, io.LimitReader(body, k.StoredLength), c.buffer)
	if err == nil && n < k.StoredLength {
		err = io.EOF
	}
	if err != nil {
		return manifest.BlockError(key, k, err)
	}
	if [sha256.Size]byte(c.sum.Sum(nil)) != k.Digest {
		return fmt.Errorf("block at byte %d: %w: the stored bytes do not match their SHA-256", k.Position, segment.ErrCorrupt)
	}
	f.blocks++
	return nil
}

// batches walks the batches of a block, decodes their records and compares with
// the footer.
func (c *checker) batches(raw []byte, k *segment.Block) error {
	at := int64(-1)
	count, served := newRecount(k), int64(0)
	for rest := raw; len(rest) > 0; {
		h, one, after, origin, err := nextIn(k, rest)
		if err != nil {
			return err
		}
		if h.BaseOffset < at || h.NextOffset() > k.Next || h.NextOffset() <= k.Start || at >= 0 && h.BaseOffset < k.Start {
			return fmt.Errorf("batch [%d,%d) after offset %d in a block of [%d,%d)", h.BaseOffset, h.NextOffset(), at, k.Start, k.Next)
		}
		if err := c.decoder.Decode(one, func(*batch.Record) error { return nil }); err != nil {
			return err
		}
		if err := count.add(&h, one); err != nil {
			return err
		}
		at, rest = h.NextOffset(), after
		served += int64(origin.Size())
	}
	if served != k.ServedLength() {
		return fmt.Errorf("batches that had %d bytes, the footer says %d", served, k.ServedLength())
	}
	return count.compare()
}
