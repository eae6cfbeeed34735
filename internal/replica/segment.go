package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

// A segment whose copying fails for a reason that may pass is tried so often, with
// pauses that begin with firstPause and are doubled. The stores repeat requests by
// themselves, but not an upload that broke.
const (
	segmentTries = 4
	firstPause   = time.Second
)

// segment copies one, which becomes visible as a whole once every byte of it has
// been checked, unless the copy has it. It says what the copy had in its place.
func (c *Copier) segment(ctx context.Context, key string, ref segment.Ref) (had state, err error) {
	pause := firstPause
	for try := 1; ; try++ {
		had, err = c.trySegment(ctx, key, ref)
		if err == nil || try == segmentTries || !mayPass(ctx, err) {
			return had, err
		}
		c.Log.Debug("a segment is copied again", "object", key, "error", err)
		select {
		case <-ctx.Done():
			return had, ctx.Err()
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// mayPass says whether to try again what failed so.
func mayPass(ctx context.Context, err error) bool {
	for _, final := range []error{
		manifest.ErrDamaged, store.ErrNotExist, store.ErrAuth, store.ErrFull, store.ErrInvalid, store.ErrUnreachable, store.ErrUnusable,
	} {
		if errors.Is(err, final) {
			return false
		}
	}
	return ctx.Err() == nil
}

func (c *Copier) trySegment(ctx context.Context, key string, ref segment.Ref) (had state, err error) {
	if had, err = c.look(ctx, key, ref); err == nil && had != sound {
		err = c.send(ctx, key, ref, had)
	}
	return had, err
}

// send puts a segment into the copy, in the place of one that is damaged.
func (c *Copier) send(ctx context.Context, key string, ref segment.Ref, had state) error {
	from := c.From.Store()
	footer, tail, err := readFooter(ctx, from, c.From, key, ref)
	if err != nil {
		return err
	}
	body, err := from.Get(ctx, key, 0, ref.Size-ref.TailLength())
	if errors.Is(err, store.ErrNotExist) {
		return &vanishedError{key, err}
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	defer body.Close()
	checked := &remembering{r: footer.Checked(body)}
	_, err = c.To.Put(ctx, key, io.MultiReader(checked, bytes.NewReader(tail)), store.PutOptions{IfAbsent: had == missing})
	switch {
	case errors.Is(checked.err, segment.ErrCorrupt):
		return &manifest.Damage{Key: key, Err: checked.err}
	case checked.err != nil:
		return fmt.Errorf("read %s: %w", key, checked.err)
	case errors.Is(err, store.ErrExists): // another copier's
		return c.mustBeThere(ctx, key, ref)
	case err != nil:
		return fmt.Errorf("put %s into the copy: %w", key, err)
	}
	return nil
}

func (c *Copier) mustBeThere(ctx context.Context, key string, ref segment.Ref) error {
	had, err := c.look(ctx, key, ref)
	if err == nil && had != sound {
		err = fmt.Errorf("put %s into the copy: it is there, and then it is not, or damaged", key)
	}
	return err
}

// look reads what the copy has in the place of a segment. An interrupted copier
// leaves some that no entry names yet.
func (c *Copier) look(ctx context.Context, key string, ref segment.Ref) (state, error) {
	err := c.check(ctx, key, ref)
	switch {
	case errors.Is(err, store.ErrNotExist):
		return missing, nil
	case errors.Is(err, manifest.ErrDamaged), errors.Is(err, segment.ErrCorrupt):
		return damaged, nil
	case err != nil:
		return sound, fmt.Errorf("in the copy: %w", err)
	}
	return sound, nil
}

// check reads a segment of the copy.
func (c *Copier) check(ctx context.Context, key string, ref segment.Ref) error {
	footer, _, err := readFooter(ctx, c.To, c.From, key, ref)
	if err != nil {
		return err
	}
	body, err := c.To.Get(ctx, key, 0, ref.Size-ref.TailLength())
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	defer body.Close()
	if _, err := io.Copy(io.Discard, footer.Checked(body)); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	return nil
}

// readFooter reads the end of a segment, and makes sure that the object has no more
// bytes than it should, and the footer that the log pins.
func readFooter(ctx context.Context, st store.Store, repo *manifest.Repository, key string, ref segment.Ref) (*segment.Footer, []byte, error) {
	body, err := st.Get(ctx, key, ref.Size-ref.TailLength(), ref.TailLength()+1)
	if errors.Is(err, store.ErrRange) {
		return nil, nil, &manifest.Damage{Key: key, Err: fmt.Errorf("%w: it is shorter than %d bytes", segment.ErrCorrupt, ref.Size)}
	}
	if errors.Is(err, store.ErrNotExist) {
		return nil, nil, &vanishedError{key, err}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", key, err)
	}
	defer body.Close()
	tail, err := io.ReadAll(body)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", key, err)
	}
	footer, err := repo.OpenFooter(ctx, key, ref, tail)
	return footer, tail, err
}

// vanishedError is that of a segment that is not there.
type vanishedError struct {
	key string
	err error
}

func (v *vanishedError) Error() string { return fmt.Sprintf("read %s: %v", v.key, v.err) }

func (v *vanishedError) Unwrap() error { return v.err }

// remembering keeps the error of a reader that somebody else reads, who may wrap it
// or not.
type remembering struct {
	r   io.Reader
	err error // but io.EOF
}

// Read implements io.Reader.
func (m *remembering) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if err != nil && err != io.EOF {
		m.err = err
	}
	return n, err
}
