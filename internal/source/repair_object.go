package source

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

// takeBatches appends the whole batches that begin below the offset next and end
// behind at, and returns where they end.
func takeBatches(raw *bytes.Buffer, records []byte, at, next int64) int64 {
	for len(records) > 0 {
		h, one, after, err := batch.Next(records)
		if err != nil || h.BaseOffset >= next { // the last one may be cut short
			break
		}
		if records = after; h.NextOffset() > at {
			raw.Write(one)
			at = h.NextOffset()
		}
	}
	return at
}

// patched is an object as it is to be: the blocks that have been brought back, and
// what is sound of the one that is there.
type patched struct {
	store  store.Store
	key    string
	footer *segment.Footer
	tail   []byte
	bytes  map[int64][]byte // stored bytes by position
}

// write writes the object.
func (p *patched) write(ctx context.Context, w io.Writer) error {
	if _, err := w.Write(segment.Header()); err != nil {
		return err
	}
	for _, l := range p.footer.InFileOrder() {
		if err := p.writeBlock(ctx, w, l.Block); err != nil {
			return err
		}
	}
	_, err := w.Write(p.tail)
	return err
}

func (p *patched) writeBlock(ctx context.Context, w io.Writer, k *segment.Block) error {
	if b, ok := p.bytes[k.Position]; ok {
		_, err := w.Write(b)
		return err
	}
	body, err := p.store.Get(ctx, p.key, k.Position, k.StoredLength)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.CopyN(w, body, k.StoredLength)
	return err
}

// replace puts the mended object in the place of the damaged one, and looks at
// what is there then.
func (r *Repairer) replace(ctx context.Context, d *DamageNote, object *patched, m *Mended) error {
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(object.write(ctx, writer)) }()
	_, err := r.Repository.Store().Put(ctx, d.Key, reader, store.PutOptions{})
	reader.CloseWithError(io.ErrClosedPipe)
	if err != nil {
		return fmt.Errorf("replace it: %w", err)
	}
	c, err := checker{Repository: r.Repository, level: manifest.LevelDigest}.ready()
	if err != nil {
		return err
	}
	f := finding{}
	if err := c.segment(ctx, &errand{key: d.Key, ref: d.ref, claims: d.claims}, &f); err != nil {
		return err
	}
	if (f.damage == nil) != (len(m.Left) == 0) || len(f.lost) != len(m.Left) {
		return fmt.Errorf("%w: it was replaced, and is not what was written: %v", manifest.ErrDamaged, f.damage)
	}
	return nil
}
