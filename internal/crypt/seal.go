package crypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"filippo.io/age"
)

const (
	keySize   = 32
	nonceSize = 12

	// TagSize is what a sealed block is longer by, in bytes.
	TagSize = 16
	// ShareSize is the size of what a recipient needs beside a wrapped data key.
	ShareSize = 32
	// WrappedSize is the size of a wrapped data key.
	WrappedSize = dataKeySize + TagSize

	dataKeySize = 16
)

// derive returns a key of its own for each label and context.
func derive(secret []byte, repository [16]byte, label string, context []byte) []byte {
	info := append(append([]byte(label), 0), context...)
	key, err := hkdf.Key(sha256.New, secret, repository[:], string(info), keySize)
	if err != nil {
		panic("crypt: internal error: " + err.Error()) // of the length alone
	}
	return key
}

// newAEAD returns AES-256-GCM.
func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("crypt: internal error: " + err.Error()) // of the key's length alone
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("crypt: internal error: " + err.Error())
	}
	return aead
}

// appendSealed appends a random nonce and what is sealed with it.
func appendSealed(b []byte, aead cipher.AEAD, text, data []byte) []byte {
	n := len(b)
	b = append(b, make([]byte, nonceSize)...)
	rand.Read(b[n:]) // never fails (crypto/rand)
	return aead.Seal(b, b[n:], text, data)
}

func openSealed(aead cipher.AEAD, sealed, data []byte) ([]byte, error) {
	if len(sealed) < nonceSize+TagSize {
		return nil, fmt.Errorf("%w: cut short at %d bytes", ErrForged, len(sealed))
	}
	text, err := aead.Open(nil, sealed[:nonceSize], sealed[nonceSize:], data)
	if err != nil {
		return nil, ErrForged
	}
	return text, nil
}

// LogKey is the secret of a generation that entries, footers and other objects
// are sealed with, in one repository. It is safe for concurrent use.
type LogKey struct {
	secret     [keySize]byte
	repository [16]byte
}

// NewLogKey returns a random one.
func NewLogKey(repository [16]byte) *LogKey {
	k := &LogKey{repository: repository}
	rand.Read(k.secret[:]) // never fails (crypto/rand)
	return k
}

// Wrap wraps the key for recipients.
func (k *LogKey) Wrap(to []Recipient) ([]byte, error) { return Wrap(k.secret[:], to) }

// UnwrapLogKey opens what LogKey.Wrap has wrapped, with the errors of Unwrap.
func (id *Identity) UnwrapLogKey(wrapped []byte, repository [16]byte) (*LogKey, error) {
	secret, err := id.Unwrap(wrapped)
	if err != nil {
		return nil, err
	}
	k := &LogKey{repository: repository}
	if copy(k.secret[:], secret); len(secret) != keySize {
		return nil, fmt.Errorf("%w: a log key of %d bytes", ErrForged, len(secret))
	}
	return k, nil
}

// String hides the key.
func (k *LogKey) String() string { return redacted }

// GoString hides the key.
func (k *LogKey) GoString() string { return redacted }

// Check is the key's check value as that of a generation.
func (k *LogKey) Check(generation int) [32]byte {
	number := binary.BigEndian.AppendUint32(nil, uint32(generation))
	return [32]byte(derive(k.secret[:], k.repository, "offsite check", number))
}

// MAC authenticates a statement about keys.
func (k *LogKey) MAC(statement []byte) [32]byte {
	m := hmac.New(sha256.New, derive(k.secret[:], k.repository, "offsite keys", nil))
	m.Write(statement)
	return [32]byte(m.Sum(nil))
}

// Equal compares two check values or MACs without telling where they differ.
func Equal(a, b [32]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// EntryOverhead is what a sealed body is longer by than the body.
const EntryOverhead = 8 + nonceSize + TagSize

func (k *LogKey) entry(sequence uint64) cipher.AEAD {
	return newAEAD(derive(k.secret[:], k.repository, "offsite entry", binary.BigEndian.AppendUint64(nil, sequence)))
}

// AppendEntry appends the sealed body of a log entry to its header. keys is the
// entry in which the newest keys are.
func (k *LogKey) AppendEntry(header []byte, sequence, keys uint64, body []byte) []byte {
	b := binary.BigEndian.AppendUint64(header, keys)
	return appendSealed(b, k.entry(sequence), body, b[:len(header)+8:len(header)+8])
}

// OpenEntry returns the body of a log entry.
func (k *LogKey) OpenEntry(header []byte, sequence uint64, sealed []byte) ([]byte, error) {
	if len(sealed) < EntryOverhead {
		return nil, fmt.Errorf("%w: cut short at %d bytes", ErrForged, len(sealed))
	}
	data := append(append(make([]byte, 0, len(header)+8), header...), sealed[:8]...)
	return openSealed(k.entry(sequence), sealed[8:], data)
}

func (k *LogKey) object(key string) cipher.AEAD {
	return newAEAD(derive(k.secret[:], k.repository, "offsite object", []byte(key)))
}

// SealObject seals the content of an object, or a segment's footer.
func (k *LogKey) SealObject(generation int, key string, content []byte) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+nonceSize+len(content)+TagSize), uint32(generation))
	return appendSealed(b, k.object(key), content, b[:4:4])
}

// ObjectGeneration returns the generation with which an object was sealed.
func ObjectGeneration(sealed []byte) (int, error) {
	if len(sealed) < 4 {
		return 0, fmt.Errorf("%w: cut short at %d bytes", ErrForged, len(sealed))
	}
	return int(binary.BigEndian.Uint32(sealed)), nil
}

// OpenObject returns what SealObject has sealed.
func (k *LogKey) OpenObject(key string, sealed []byte) ([]byte, error) {
	if len(sealed) < 4 {
		return nil, fmt.Errorf("%w: cut short at %d bytes", ErrForged, len(sealed))
	}
	return openSealed(k.object(key), sealed[4:], sealed[:4])
}

// DataKey is the secret that the blocks of one segment are sealed with. It is
// safe for concurrent use.
type DataKey struct{ aead cipher.AEAD }

// NewDataKey returns a random one for the segment with the given object key, and
// what its recipient needs to open it.
func NewDataKey(to Recipient, repository [16]byte, object string) (k *DataKey, share [ShareSize]byte, wrapped [WrappedSize]byte, err error) {
	var secret [dataKeySize]byte
	rand.Read(secret[:]) // never fails (crypto/rand)
	stanzas, err := to.key.Wrap(secret[:])
	if err != nil {
		return nil, share, wrapped, fmt.Errorf("wrap a data key: %w", err)
	}
	point, err := base64.RawStdEncoding.DecodeString(stanzas[0].Args[0])
	if err != nil || len(point) != ShareSize || len(stanzas[0].Body) != WrappedSize {
		panic("crypt: internal error: age wraps a key in another way than it did")
	}
	copy(share[:], point)
	copy(wrapped[:], stanzas[0].Body)
	return newDataKey(secret[:], repository, object), share, wrapped, nil
}

func newDataKey(secret []byte, repository [16]byte, object string) *DataKey {
	return &DataKey{newAEAD(derive(secret, repository, "offsite block", []byte(object)))}
}

// UnwrapDataKey opens the data key of the segment with the given object key.
func (id *Identity) UnwrapDataKey(share [ShareSize]byte, wrapped [WrappedSize]byte, repository [16]byte, object string) (*DataKey, error) {
	stanza := &age.Stanza{Type: "X25519", Args: []string{base64.RawStdEncoding.EncodeToString(share[:])}, Body: wrapped[:]}
	for _, key := range id.keys {
		if secret, err := key.Unwrap([]*age.Stanza{stanza}); err == nil {
			return newDataKey(secret, repository, object), nil
		}
	}
	return nil, fmt.Errorf("%w: its data key", ErrForged)
}

// String hides the key.
func (k *DataKey) String() string { return redacted }

// GoString hides the key.
func (k *DataKey) GoString() string { return redacted }

func blockNonce(number uint64) (nonce [nonceSize]byte) {
	binary.BigEndian.PutUint64(nonce[4:], number)
	return nonce
}

// SealBlock appends a sealed block to dst, which may be text[:0]. A number must
// never be used twice.
func (k *DataKey) SealBlock(dst []byte, number uint64, text, what []byte) []byte {
	nonce := blockNonce(number)
	return k.aead.Seal(dst, nonce[:], text, what)
}

// OpenBlock opens a block in the memory in which it is sealed.
func (k *DataKey) OpenBlock(number uint64, sealed, what []byte) ([]byte, error) {
	nonce := blockNonce(number)
	text, err := k.aead.Open(sealed[:0], nonce[:], sealed, what)
	if err != nil {
		return nil, ErrForged
	}
	return text, nil
}
