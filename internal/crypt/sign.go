package crypt

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
)

// SignatureSize is the size of a signature in bytes.
const SignatureSize = ed25519.SignatureSize

// SigningKey signs log entries.
type SigningKey struct{ key ed25519.PrivateKey }

// GenerateSigningKey returns a new one.
func GenerateSigningKey() (*SigningKey, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("generate a signing key: %w", err)
	}
	return &SigningKey{key}, nil
}

// ParseSigningKey reads a PEM file (PKCS #8), as "openssl genpkey -algorithm
// ed25519" makes one, too.
func ParseSigningKey(text []byte) (*SigningKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%w: no PEM block PRIVATE KEY in it", ErrKeyText)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%w: its PRIVATE KEY is not one of Ed25519", ErrKeyText)
	}
	return &SigningKey{key}, nil
}

// Secret returns the PEM file.
func (k *SigningKey) Secret() ([]byte, error) {
	b, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		return nil, fmt.Errorf("encode a signing key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}), nil
}

// String hides the key.
func (k *SigningKey) String() string { return redacted }

// GoString hides the key.
func (k *SigningKey) GoString() string { return redacted }

// Public returns the key with which its signatures are checked.
func (k *SigningKey) Public() PublicKey {
	var p PublicKey
	copy(p[:], k.key.Public().(ed25519.PublicKey))
	return p
}

// Sign signs the digest of an entry.
func (k *SigningKey) Sign(repository [16]byte, digest [32]byte) [SignatureSize]byte {
	return [SignatureSize]byte(ed25519.Sign(k.key, signed(repository, digest)))
}

func signed(repository [16]byte, digest [32]byte) []byte {
	return append(append([]byte("offsite log entry\x00"), repository[:]...), digest[:]...)
}

// PublicKey checks signatures.
type PublicKey [ed25519.PublicKeySize]byte

const publicPrefix = "ed25519:"

// ParsePublicKey reads "ed25519:" and base64. An error does not show the text, which
// may be a private key by mistake.
func ParsePublicKey(text string) (p PublicKey, err error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), publicPrefix)
	b, err := base64.StdEncoding.DecodeString(rest)
	if !ok || err != nil || len(b) != len(p) {
		return p, fmt.Errorf("%w: a public key is ed25519: and 44 characters of base64", ErrKeyText)
	}
	copy(p[:], b)
	return p, nil
}

// String returns "ed25519:…".
func (p PublicKey) String() string { return publicPrefix + base64.StdEncoding.EncodeToString(p[:]) }

// Verify says whether the signature of an entry's digest is by this key.
func (p PublicKey) Verify(repository [16]byte, digest [32]byte, signature []byte) bool {
	return ed25519.Verify(p[:], signed(repository, digest), signature)
}
