package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/wire"
)

// maxKeys bounds the data keys of a segment.
const maxKeys = 1 << 20

// Key is a data key as a footer has it. Blocks keep it when they are copied to
// another segment; whoever copies them needs not be able to open it. It is safe
// for concurrent use.
type Key struct {
	Generation int
	Writer     [16]byte // with Counter: of the segment that it was made for
	Counter    uint64
	Share      [crypt.ShareSize]byte
	Wrapped    [crypt.WrappedSize]byte

	once sync.Once
	open func(*Key) (*crypt.DataKey, error)
	key  *crypt.DataKey
	err  error
}

func (k *Key) same(o *Key) bool {
	return k.Share == o.Share && k.Wrapped == o.Wrapped && k.Generation == o.Generation && k.Writer == o.Writer && k.Counter == o.Counter
}

// data returns the secret, opened at the first call.
func (k *Key) data() (*crypt.DataKey, error) {
	k.once.Do(func() {
		if k.key != nil {
			return
		}
		if k.open == nil {
			k.err = errors.New("segment: internal error: nobody said how to open its data key")
			return
		}
		k.key, k.err = k.open(k)
	})
	return k.key, k.err
}

// Seal is what a new segment of an encrypted repository is sealed with. One
// goroutine uses it at a time.
type Seal struct {
	key    *Key
	footer func(plain []byte) []byte
	next   uint64
}

// NewSeal returns a seal with a data key that is new, and a function that seals the
// footer.
func NewSeal(key *Key, secret *crypt.DataKey, footer func(plain []byte) []byte) *Seal {
	key.key = secret
	return &Seal{key: key, footer: footer}
}

// Take makes a block of the stream one that is going to be sealed. Without a seal
// it does nothing. The stream must not change afterwards.
func (s *Seal) Take(k *Block, stream *Stream) {
	if s == nil {
		return
	}
	k.Key, k.Number, k.stream = s.key, s.next, stream
	s.next++
}

func (s *Seal) sealFooter(plain []byte) []byte { return s.footer(plain) }

// what is what a sealed block is bound to, besides its origin.
func (k *Block) what() []byte {
	b := make([]byte, 0, 16+4+8+8+1+4)
	b = append(b, k.stream.TopicID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(k.stream.Partition))
	b = binary.BigEndian.AppendUint64(b, uint64(k.Start))
	b = binary.BigEndian.AppendUint64(b, uint64(k.Next))
	b = append(b, byte(k.Codec))
	return binary.BigEndian.AppendUint32(b, uint32(k.RawLength))
}

// seal seals stored, in place where the block has been compressed: what was
// fetched lies beside what others still read, and has no room for a tag.
func (k *Block) seal(stored []byte, room func(n int) []byte) ([]byte, error) {
	key, err := k.Key.data()
	if err != nil {
		return nil, err
	}
	var dst []byte
	switch n := len(stored) + crypt.TagSize; {
	case k.Codec != Stored && cap(stored) >= n:
		dst = stored[:0]
	case k.Codec == Stored && room != nil:
		dst = room(n)
	default:
		dst = make([]byte, 0, n)
	}
	return key.SealBlock(dst, k.Number, stored, k.what()), nil
}

// open opens a sealed block in place.
func (k *Block) open(sealed []byte) ([]byte, error) {
	key, err := k.Key.data()
	if errors.Is(err, crypt.ErrForged) {
		return nil, fmt.Errorf("%w: the block at byte %d: %w", ErrCorrupt, k.Position, err)
	}
	if err != nil {
		return nil, fmt.Errorf("the block at byte %d: %w", k.Position, err)
	}
	text, err := key.OpenBlock(k.Number, sealed, k.what())
	if err != nil {
		return nil, fmt.Errorf("%w: the block at byte %d: %w", ErrCorrupt, k.Position, err)
	}
	return text, nil
}

func appendKeys(b []byte, keys []*Key) []byte {
	b = wire.AppendUvarint(b, uint64(len(keys)))
	for _, k := range keys {
		b = wire.AppendUvarint(b, uint64(k.Generation))
		b = append(b, k.Writer[:]...)
		b = wire.AppendUvarint(b, k.Counter)
		b = append(b, k.Share[:]...)
		b = append(b, k.Wrapped[:]...)
	}
	return b
}

// parseKeys never returns nil.
func parseKeys(r *wire.Reader) []*Key {
	n := r.Count("data keys", 18+crypt.ShareSize+crypt.WrappedSize)
	if n > maxKeys {
		r.Failf("%d data keys", n)
		n = 0
	}
	keys, seen := make([]*Key, n), make(map[[crypt.ShareSize]byte]bool)
	for i := range keys {
		k := &Key{Generation: int(r.Max("generation", 1<<16-1))}
		copy(k.Writer[:], r.Bytes(16))
		k.Counter = r.Uvarint()
		copy(k.Share[:], r.Bytes(crypt.ShareSize))
		copy(k.Wrapped[:], r.Bytes(crypt.WrappedSize))
		if seen[k.Share] {
			r.Failf("a data key twice")
		}
		seen[k.Share] = true
		keys[i] = k
	}
	return keys
}

func (k *Block) parseSeal(r *wire.Reader, s *Stream, keys []*Key) {
	i := r.Uvarint()
	k.Number, k.stream = r.Uvarint(), s
	if i >= uint64(len(keys)) {
		r.Failf("data key %d of %d", i, len(keys))
		return
	}
	k.Key = keys[i]
}

// Unlock says how the sealed parts of a segment are opened: its footer, at once, and
// the data keys of its blocks, when they are needed.
type Unlock struct {
	Footer func(sealed []byte) ([]byte, error)
	Key    func(*Key) (*crypt.DataKey, error)
}

// OpenSealed does what Open does for a segment of an encrypted repository. An
// error of u.Footer that is not about what was sealed is returned as it is.
func (r Ref) OpenSealed(tail []byte, u Unlock) (*Footer, error) {
	sealed, err := r.footer(tail)
	if err != nil {
		return nil, err
	}
	plain, err := u.Footer(sealed)
	if errors.Is(err, crypt.ErrForged) {
		return nil, fmt.Errorf("%w: footer: %w", ErrCorrupt, err)
	}
	if err != nil {
		return nil, err
	}
	end := r.Size - r.TailLength()
	if end < int64(headerSize) || len(sealed) > MaxFooter {
		return nil, fmt.Errorf("%w: a footer of %d bytes in an object of %d", ErrCorrupt, len(sealed), r.Size)
	}
	f, err := parseFooter(plain, end, true)
	if err != nil {
		return nil, err
	}
	for _, k := range f.Keys {
		k.open = u.Key
	}
	return f, nil
}
