// Package crypt is what docs/format.md ("Encryption", "Signatures") needs of
// cryptography: keys of age that are recipients, what is wrapped for them, and
// what is derived from secrets and sealed. It is pure: it knows no store and
// nothing of what is sealed. Its secrets never appear in a text: not in errors,
// and not if they are printed.
package crypt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
)

// Errors that callers match with errors.Is.
var (
	// ErrNotForUs: none of the keys of an identity opens what was wrapped.
	ErrNotForUs = errors.New("wrapped for other recipients")
	// ErrForged is wrapped by every error about bytes that were sealed with another
	// key, or for another place, or are altered.
	ErrForged = errors.New("it is altered, or was sealed with another key or for another place")
	// ErrKeyText: a text is not the key that it is said to be.
	ErrKeyText = errors.New("not a key")
)

// MaxWrapped bounds what is wrapped for recipients, in bytes.
const MaxWrapped = 64 << 10

// redacted is what a secret is as a text.
const redacted = "**redacted**"

// Recipient is a public key, for which something can be wrapped.
type Recipient struct{ key *age.X25519Recipient }

// ParseRecipient reads "age1…". An error does not show the text, which may be an
// identity by mistake.
func ParseRecipient(text string) (Recipient, error) {
	key, err := age.ParseX25519Recipient(text)
	if err != nil && strings.HasPrefix(text, "age1") {
		return Recipient{}, fmt.Errorf("%w: %q is no recipient of age with an X25519 key, age1 and 58 letters and digits", ErrKeyText, text)
	}
	if err != nil {
		return Recipient{}, fmt.Errorf("%w: a recipient of age begins with age1", ErrKeyText)
	}
	return Recipient{key}, nil
}

// String returns "age1…".
func (r Recipient) String() string { return r.key.String() }

// Identity holds private keys: it opens what was wrapped for one of them. It is
// safe for concurrent use.
type Identity struct{ keys []*age.X25519Identity }

// GenerateIdentity returns a new one with one key.
func GenerateIdentity() (*Identity, error) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("generate an identity: %w", err)
	}
	return &Identity{[]*age.X25519Identity{key}}, nil
}

// ParseIdentity reads an identity file of age: lines with "AGE-SECRET-KEY-1…",
// and comments.
func ParseIdentity(text []byte) (*Identity, error) {
	id := &Identity{}
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := age.ParseX25519Identity(line)
		if err != nil { // which may quote the line
			return nil, fmt.Errorf("%w: line %d is no identity of age, AGE-SECRET-KEY-1 and 58 letters and digits", ErrKeyText, n+1)
		}
		id.keys = append(id.keys, key)
	}
	if len(id.keys) == 0 {
		return nil, fmt.Errorf("%w: there is no identity of age in it, AGE-SECRET-KEY-1 and 58 letters and digits", ErrKeyText)
	}
	return id, nil
}

// Recipients returns the public keys.
func (id *Identity) Recipients() []Recipient {
	list := make([]Recipient, len(id.keys))
	for i, key := range id.keys {
		list[i] = Recipient{key.Recipient()}
	}
	return list
}

// Secret returns the first key as a line of an identity file.
func (id *Identity) Secret() string { return id.keys[0].String() }

// String hides the keys.
func (id *Identity) String() string { return redacted }

// GoString hides the keys.
func (id *Identity) GoString() string { return redacted }

// Wrap encrypts a secret for all of the recipients.
func Wrap(secret []byte, to []Recipient) ([]byte, error) {
	keys := make([]age.Recipient, len(to))
	for i, r := range to {
		keys[i] = r.key
	}
	var b bytes.Buffer
	w, err := age.Encrypt(&b, keys...)
	if err == nil {
		_, err = w.Write(secret)
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil && b.Len() > MaxWrapped {
		err = fmt.Errorf("%d bytes for %d recipients", b.Len(), len(to))
	}
	if err != nil {
		return nil, fmt.Errorf("wrap a key: %w", err)
	}
	return b.Bytes(), nil
}

// Unwrap returns what was wrapped. The error is ErrNotForUs if it was for others,
// and else wraps ErrForged.
func (id *Identity) Unwrap(wrapped []byte) ([]byte, error) {
	if len(wrapped) > MaxWrapped {
		return nil, fmt.Errorf("%w: %d bytes", ErrForged, len(wrapped))
	}
	keys := make([]age.Identity, len(id.keys))
	for i, key := range id.keys {
		keys[i] = key
	}
	r, err := age.Decrypt(bytes.NewReader(wrapped), keys...)
	var other *age.NoIdentityMatchError
	if errors.As(err, &other) {
		return nil, ErrNotForUs
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrForged, err)
	}
	secret, err := io.ReadAll(io.LimitReader(r, MaxWrapped))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrForged, err)
	}
	return secret, nil
}

// Is says whether one of the identity's keys is that of the recipient.
func (id *Identity) Is(r string) bool {
	return slices.ContainsFunc(id.keys, func(key *age.X25519Identity) bool { return key.Recipient().String() == r })
}
