package segment_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// vault seals segments and opens them again.
type vault struct {
	id     *crypt.Identity
	logKey *crypt.LogKey
}

func newVault(t testing.TB) *vault {
	t.Helper()
	id, err := crypt.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return &vault{id, crypt.NewLogKey([16]byte{1})}
}

// object names a segment.
func (v *vault) object(counter uint64) string { return "data/" + string(rune('a'+counter)) }

func (v *vault) seal(t testing.TB, counter uint64) *segment.Seal {
	t.Helper()
	secret, share, wrapped, err := crypt.NewDataKey(v.id.Recipients()[0], [16]byte{1}, v.object(counter))
	if err != nil {
		t.Fatal(err)
	}
	key := &segment.Key{Counter: counter, Share: share, Wrapped: wrapped}
	return segment.NewSeal(key, secret, func(plain []byte) []byte { return v.logKey.SealObject(0, v.object(counter), plain) })
}

// unlock opens the segment with the counter. Without an identity it opens no block.
func (v *vault) unlock(counter uint64) segment.Unlock {
	return segment.Unlock{
		Footer: func(sealed []byte) ([]byte, error) { return v.logKey.OpenObject(v.object(counter), sealed) },
		Key: func(k *segment.Key) (*crypt.DataKey, error) {
			if v.id == nil {
				return nil, errLocked
			}
			return v.id.UnwrapDataKey(k.Share, k.Wrapped, [16]byte{1}, v.object(k.Counter))
		},
	}
}

var errLocked = errors.New("no identity")

var sealedTexts = []string{strings.Repeat("compressible ", 40), "stored", "as long"}

// writeSealed writes a sealed segment of three blocks, two of them of one stream.
func writeSealed(t testing.TB, v *vault, counter uint64) *object {
	t.Helper()
	var buf bytes.Buffer
	seal := v.seal(t, counter)
	w, err := segment.NewSealedWriter(&buf, seal)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := segment.NewEncoder(zstd.SpeedFastest)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range sealedTexts {
		s := streamOf(i / 2)
		k := segment.Block{Summary: segment.Summary{Start: int64(10 * i), Next: int64(10*i + 5), Batches: 1}}
		seal.Take(&k, &s)
		raw := []byte(text)
		stored, err := enc.Encode(&k, raw, true)
		if err != nil {
			t.Fatal(err)
		}
		if string(raw) != text {
			t.Fatal("the raw block, which may lie beside what others read, was written to")
		}
		if err := w.WriteBlock(s, k, stored); err != nil {
			t.Fatal(err)
		}
	}
	o := &object{}
	if o.ref, o.footer, err = w.Finish(); err != nil {
		t.Fatal(err)
	}
	o.bytes = buf.Bytes()
	return o
}

// readSealed returns the blocks in the order in which they lie.
func readSealed(b []byte, ref segment.Ref, u segment.Unlock) (texts []string, err error) {
	f, err := ref.OpenSealed(b[ref.Size-ref.TailLength():], u)
	if err != nil {
		return nil, err
	}
	dec, err := segment.NewDecoder()
	if err != nil {
		return nil, err
	}
	for _, l := range f.InFileOrder() {
		raw, err := dec.Decode(l.Block, bytes.Clone(b[l.Block.Position:][:l.Block.StoredLength]), nil)
		if err != nil {
			return nil, err
		}
		texts = append(texts, string(raw))
	}
	return texts, nil
}

func TestSealed(t *testing.T) {
	v := newVault(t)
	o := writeSealed(t, v, 1)
	texts, err := readSealed(o.bytes, o.ref, v.unlock(1))
	if err != nil || strings.Join(texts, "|") != strings.Join(sealedTexts, "|") {
		t.Fatalf("%q, %v", texts, err)
	}
	for _, secret := range []string{"stored", "as long", streamOf(0).Topic, streamOf(1).Topic} {
		if bytes.Contains(o.bytes, []byte(secret)) {
			t.Errorf("%s can be read", secret)
		}
	}
	writer := &vault{logKey: v.logKey}
	if _, err := readSealed(o.bytes, o.ref, writer.unlock(1)); !errors.Is(err, errLocked) || errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("without an identity: %v", err)
	}
	if _, err := o.ref.Open(o.tail()); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("as if it were not sealed: %v", err)
	}
	plain := sample(t)
	if _, err := plain.ref.OpenSealed(plain.tail(), v.unlock(1)); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("what is not sealed: %v", err)
	}
	if _, err := readSealed(o.bytes, o.ref, v.unlock(2)); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("in the place of another: %v", err)
	}
}

// Even whoever can seal footers, and so make digests fit, cannot have one block be taken for another.
func TestSealedBlocksAreBound(t *testing.T) {
	v := newVault(t)
	o, other := writeSealed(t, v, 1), writeSealed(t, v, 2)
	dec, err := segment.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	f, err := o.ref.OpenSealed(o.tail(), v.unlock(1))
	if err != nil {
		t.Fatal(err)
	}
	all := f.InFileOrder()
	stored := func(o *object, i int) []byte {
		k := all[i].Block
		return bytes.Clone(o.bytes[k.Position:][:k.StoredLength])
	}
	for _, bad := range []struct {
		what   string
		block  int
		stored []byte
		alter  func(*segment.Block)
	}{
		{"the same block of another segment", 1, stored(other, 1), nil},
		{"another block", 1, stored(o, 2), func(k *segment.Block) { k.RawLength, k.StoredLength = 7, 23 }},
		{"another number", 1, stored(o, 1), func(k *segment.Block) { k.Number = 7 }},
		{"other offsets", 1, stored(o, 1), func(k *segment.Block) { k.Next++ }},
		{"another codec", 0, stored(o, 0), func(k *segment.Block) { k.Codec = segment.Stored }},
		{"cut short", 1, stored(o, 1)[:10], func(k *segment.Block) { k.StoredLength = 10 }},
	} {
		k := *all[bad.block].Block
		if bad.alter != nil {
			bad.alter(&k)
		}
		k.Digest = sha256.Sum256(bad.stored)
		if raw, err := dec.Decode(&k, bad.stored, nil); !errors.Is(err, segment.ErrCorrupt) || !errors.Is(err, crypt.ErrForged) || !strings.Contains(err.Error(), "the block at byte") {
			t.Errorf("%s: %q, %v", bad.what, raw, err)
		}
	}
}

// Blocks go to another segment as they are, without a key that opens them.
func TestCopySealed(t *testing.T) {
	v := newVault(t)
	writer := &vault{logKey: v.logKey}
	var buf bytes.Buffer
	w, err := segment.NewSealedWriter(&buf, v.seal(t, 9))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for counter := range uint64(2) { // of each segment one stream
		o := writeSealed(t, v, counter)
		f, err := o.ref.OpenSealed(o.tail(), writer.unlock(counter))
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range f.InFileOrder() {
			if *l.Stream != streamOf(int(counter)) {
				continue
			}
			if err := w.WriteBlock(*l.Stream, *l.Block, o.bytes[l.Block.Position:][:l.Block.StoredLength]); err != nil {
				t.Fatal(err)
			}
			want = append(want, sealedTexts[i])
		}
	}
	ref, footer, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	got, err := readSealed(buf.Bytes(), ref, v.unlock(9))
	if err != nil || strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if len(footer.Keys) != 2 {
		t.Errorf("%d data keys, want those of two segments", len(footer.Keys))
	}
}

// Of two data keys with one share, one is a lie: a block that keeps it would take the other's blocks with it.
func TestCopySealedSameShare(t *testing.T) {
	v := newVault(t)
	o := writeSealed(t, v, 1)
	f, err := o.ref.OpenSealed(o.tail(), v.unlock(1))
	if err != nil {
		t.Fatal(err)
	}
	w, err := segment.NewSealedWriter(new(bytes.Buffer), v.seal(t, 9))
	if err != nil {
		t.Fatal(err)
	}
	all := f.InFileOrder()
	liar := *all[0].Block
	liar.Key = &segment.Key{Counter: 7, Share: liar.Key.Share}
	if err := w.WriteBlock(*all[0].Stream, liar, o.bytes[liar.Position:][:liar.StoredLength]); err != nil {
		t.Fatal(err)
	}
	k := *all[2].Block
	if err := w.WriteBlock(*all[2].Stream, k, o.bytes[k.Position:][:k.StoredLength]); !errors.Is(err, segment.ErrCorrupt) || !strings.Contains(err.Error(), "one share") {
		t.Errorf("the block of the other is copied: %v", err)
	}
}
