package source

import (
	"context"
	"fmt"
	"io"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

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
func (r *Repairer) replace(ctx context.Context, d *DamageNote, object *patched) error {
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(object.write(ctx, writer)) }()
	_, err := r.Repository.Store().Put(ctx, d.Key, reader, store.PutOptions{})
	reader.CloseWithError(io.ErrClosedPipe)
	if err != nil {
		return fmt.Errorf("replace it: %w", err)
	}
	return r.expectSound(ctx, d)
}

// expectSound looks at an object that has been replaced.
func (r *Repairer) expectSound(ctx context.Context, d *DamageNote) error {
	damage, err := look(ctx, r.Repository, d)
	if err == nil && damage != nil {
		err = fmt.Errorf("%w: it was replaced, and is not what was written: %v", manifest.ErrDamaged, damage)
	}
	return err
}

// look verifies the object of a damage, in the repository or a copy of it.
func look(ctx context.Context, repo *manifest.Repository, d *DamageNote) (*manifest.Damage, error) {
	c, err := checker{Repository: repo, level: manifest.LevelDigest}.ready()
	if err != nil {
		return nil, err
	}
	f := finding{}
	err = c.segment(ctx, &errand{key: d.Key, ref: d.ref, claims: d.claims}, &f)
	return f.damage, err
}

// fromReplica puts the copy's object in the place of the damaged one, if it is sound.
func (r *Repairer) fromReplica(ctx context.Context, d *DamageNote, m *Mended) (whole bool, err error) {
	if r.Replica == nil {
		return false, nil
	}
	damage, err := look(ctx, r.Replica, d)
	if err != nil {
		return false, fmt.Errorf("look at it in the copy: %w", err)
	}
	if damage != nil {
		r.Log.Warn("the copy does not have it either", "object", d.Key, "reason", damage.Err)
		return false, nil
	}
	if m.Done = d.Lost; r.DryRun {
		return true, nil
	}
	body, err := r.Replica.Store().Get(ctx, d.Key, 0, d.ref.Size)
	if err != nil {
		return false, fmt.Errorf("read it from the copy: %w", err)
	}
	defer body.Close()
	if _, err := r.Repository.Store().Put(ctx, d.Key, body, store.PutOptions{}); err != nil {
		return false, fmt.Errorf("replace it: %w", err)
	}
	return true, r.expectSound(ctx, d)
}
