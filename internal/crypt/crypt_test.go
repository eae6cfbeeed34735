package crypt_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/offsite-kafka/offsite/internal/crypt"
)

var repository = [16]byte{0: 1, 15: 16}

func identity(t testing.TB) *crypt.Identity {
	t.Helper()
	id, err := crypt.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestWrap(t *testing.T) {
	a, b, other := identity(t), identity(t), identity(t)
	wrapped, err := crypt.Wrap([]byte("secret"), append(a.Recipients(), b.Recipients()...))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []*crypt.Identity{a, b} {
		if got, err := id.Unwrap(wrapped); err != nil || string(got) != "secret" {
			t.Errorf("a recipient gets %q, %v", got, err)
		}
	}
	if _, err := other.Unwrap(wrapped); !errors.Is(err, crypt.ErrNotForUs) {
		t.Errorf("somebody else gets %v", err)
	}
	for i := range wrapped {
		bad := bytes.Clone(wrapped)
		bad[i] ^= 1
		if got, err := a.Unwrap(bad); err == nil {
			t.Errorf("with byte %d altered, %q comes out", i, got)
		}
		if _, err := a.Unwrap(wrapped[:i]); err == nil {
			t.Errorf("cut at byte %d, it can be opened", i)
		}
	}
}

// What age itself makes is as good, and the other way round.
func TestAge(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	id, err := crypt.ParseIdentity([]byte("# created: today\n# public key: " + key.Recipient().String() + "\r\n" + key.String() + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := id.Recipients()[0].String(); got != key.Recipient().String() || !id.Is(got) {
		t.Errorf("the recipient is %s, want %s", got, key.Recipient())
	}
	if id.Secret() != key.String() {
		t.Error("the secret is another one")
	}
	var b bytes.Buffer
	w, err := age.Encrypt(&b, key.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("by age"))
	w.Close()
	if got, err := id.Unwrap(b.Bytes()); err != nil || string(got) != "by age" {
		t.Errorf("%q, %v", got, err)
	}
}

// No secret is in an error, or in what is printed of a key.
func TestSecretsAreHidden(t *testing.T) {
	id := identity(t)
	secret := id.Secret()
	for _, text := range []string{secret[:len(secret)-1], secret + "x", "x" + secret} {
		if _, err := crypt.ParseIdentity([]byte(text)); !errors.Is(err, crypt.ErrKeyText) || strings.Contains(err.Error(), text[2:20]) {
			t.Errorf("%v", err)
		}
	}
	if _, err := crypt.ParseRecipient(secret); !errors.Is(err, crypt.ErrKeyText) || strings.Contains(err.Error(), secret[20:]) {
		t.Errorf("%v", err)
	}
	if _, err := crypt.ParsePublicKey(secret); !errors.Is(err, crypt.ErrKeyText) || strings.Contains(err.Error(), secret[20:]) {
		t.Errorf("%v", err)
	}
	signing, err := crypt.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	data, _, _, err := crypt.NewDataKey(id.Recipients()[0], repository, "data/1/1")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{id, crypt.NewLogKey(repository), data, signing} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if text := fmt.Sprintf(verb, v); text != "**redacted**" {
				t.Errorf("%T is printed as %s", v, text)
			}
		}
	}
	for _, text := range []string{"", "# nothing\n", "age1xyz"} {
		if _, err := crypt.ParseIdentity([]byte(text)); !errors.Is(err, crypt.ErrKeyText) {
			t.Errorf("%q is an identity: %v", text, err)
		}
	}
}

// logKey returns one whose secret is 32 times 7.
func logKey(t testing.TB) *crypt.LogKey {
	t.Helper()
	id := identity(t)
	wrapped, err := crypt.Wrap(bytes.Repeat([]byte{7}, 32), id.Recipients())
	if err != nil {
		t.Fatal(err)
	}
	k, err := id.UnwrapLogKey(wrapped, repository)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The vectors were computed from docs/format.md with another implementation (Python's hmac and cryptography).
func TestVectors(t *testing.T) {
	k := logKey(t)
	check, mac := k.Check(3), k.MAC([]byte("statement"))
	for _, v := range []struct{ what, got, want string }{
		{"check value", hex.EncodeToString(check[:]), vectorCheck},
		{"MAC", hex.EncodeToString(mac[:]), vectorMAC},
	} {
		if v.got != v.want {
			t.Errorf("%s: %s, want %s", v.what, v.got, v.want)
		}
	}
	unhex := func(text string) []byte {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if got, err := k.OpenEntry([]byte("header"), 5, unhex(vectorEntry)); err != nil || string(got) != "body" {
		t.Errorf("entry: %q, %v", got, err)
	}
	if got, err := k.OpenObject("data/x", unhex(vectorObject)); err != nil || string(got) != "footer" {
		t.Errorf("object: %q, %v", got, err)
	}
	// The X25519 stanza is age's business, so that what it wraps goes through age here.
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	stanzas, err := key.Recipient().Wrap(bytes.Repeat([]byte{9}, 16))
	if err != nil {
		t.Fatal(err)
	}
	id, err := crypt.ParseIdentity([]byte(key.String()))
	if err != nil {
		t.Fatal(err)
	}
	point, err := base64.RawStdEncoding.DecodeString(stanzas[0].Args[0])
	if err != nil {
		t.Fatal(err)
	}
	data, err := id.UnwrapDataKey([32]byte(point), [32]byte(stanzas[0].Body), repository, "data/a/1")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := data.OpenBlock(4, unhex(vectorBlock), []byte("what")); err != nil || string(got) != "records" {
		t.Errorf("block: %q, %v", got, err)
	}
}

const (
	vectorCheck  = "58307be37fc9b7a58a3ec983d7e953c2bc6ab37f624ad57910850a8b39ae34f3"
	vectorMAC    = "43480759a2f4d641bf7cd216015ef56080453b42058cbdde4cdbad75fd6adc90"
	vectorEntry  = "0000000000000001000102030405060708090a0bf14d92ceda6a00428cc41f22dce0f4b135f41c7a"
	vectorObject = "00000000000102030405060708090a0b283a3e0abf72074148e82f24c7cf1a856ae6e6928f4e"
	vectorBlock  = "db16ef103dccfe1dac70899c36e518e74c9b9c13fb35ff"
)

func TestEntryAndObject(t *testing.T) {
	k := logKey(t)
	header := []byte("header")
	sealed := k.AppendEntry(bytes.Clone(header), 5, 1, []byte("body"))[len(header):]
	if len(sealed) != len("body")+crypt.EntryOverhead {
		t.Errorf("%d bytes", len(sealed))
	}
	try := func(what string, key *crypt.LogKey, header []byte, sequence uint64, b []byte, ok bool) {
		t.Helper()
		if got, err := key.OpenEntry(header, sequence, b); ok != (err == nil && string(got) == "body") || !ok && !errors.Is(err, crypt.ErrForged) {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	try("as it is", k, header, 5, sealed, true)
	try("another header", k, []byte("Header"), 5, sealed, false)
	try("another place", k, header, 6, sealed, false)
	try("another key", crypt.NewLogKey(repository), header, 5, sealed, false)
	object := k.SealObject(0, "data/a/1", []byte("footer"))
	if generation, err := crypt.ObjectGeneration(object); err != nil || generation != 0 {
		t.Errorf("generation %d, %v", generation, err)
	}
	if _, err := k.OpenObject("data/a/2", object); !errors.Is(err, crypt.ErrForged) {
		t.Errorf("an object in another's place: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		try(fmt.Sprintf("byte %d altered", i), k, header, 5, bad, false)
		try(fmt.Sprintf("cut at byte %d", i), k, header, 5, sealed[:i], false)
	}
	for i := range object {
		bad := bytes.Clone(object)
		bad[i] ^= 1
		if _, err := k.OpenObject("data/a/1", bad); !errors.Is(err, crypt.ErrForged) {
			t.Errorf("byte %d of an object altered: %v", i, err)
		}
		if _, err := k.OpenObject("data/a/1", object[:i]); !errors.Is(err, crypt.ErrForged) {
			t.Errorf("an object cut at byte %d: %v", i, err)
		}
	}
}

func TestBlock(t *testing.T) {
	id, other := identity(t), identity(t)
	k, share, wrapped, err := crypt.NewDataKey(id.Recipients()[0], repository, "data/a/1")
	if err != nil {
		t.Fatal(err)
	}
	sealed := k.SealBlock(nil, 4, []byte("records"), []byte("what"))
	open := func(id *crypt.Identity, repository [16]byte, object string, number uint64, what string) ([]byte, error) {
		k, err := id.UnwrapDataKey(share, wrapped, repository, object)
		if err != nil {
			return nil, err
		}
		return k.OpenBlock(number, bytes.Clone(sealed), []byte(what))
	}
	if got, err := open(id, repository, "data/a/1", 4, "what"); err != nil || string(got) != "records" {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []struct {
		what       string
		id         *crypt.Identity
		repository [16]byte
		object     string
		number     uint64
		is         string
	}{
		{"another identity", other, repository, "data/a/1", 4, "what"},
		{"another repository", id, [16]byte{}, "data/a/1", 4, "what"},
		{"another segment", id, repository, "data/a/2", 4, "what"},
		{"another number", id, repository, "data/a/1", 5, "what"},
		{"something else", id, repository, "data/a/1", 4, "What"},
	} {
		if got, err := open(bad.id, bad.repository, bad.object, bad.number, bad.is); !errors.Is(err, crypt.ErrForged) {
			t.Errorf("%s: %q, %v", bad.what, got, err)
		}
	}
	share[3] ^= 1
	if _, err := id.UnwrapDataKey(share, wrapped, repository, "data/a/1"); !errors.Is(err, crypt.ErrForged) {
		t.Errorf("another share: %v", err)
	}
}

func TestSigning(t *testing.T) {
	k, err := crypt.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := k.Secret()
	if err != nil {
		t.Fatal(err)
	}
	if k, err = crypt.ParseSigningKey(text); err != nil {
		t.Fatal(err)
	}
	public, err := crypt.ParsePublicKey(k.Public().String())
	if err != nil {
		t.Fatal(err)
	}
	digest := [32]byte{1}
	signature := k.Sign(repository, digest)
	if !public.Verify(repository, digest, signature[:]) {
		t.Error("its own signature is refused")
	}
	if public.Verify([16]byte{}, digest, signature[:]) || public.Verify(repository, [32]byte{}, signature[:]) {
		t.Error("the signature of something else is accepted")
	}
	for _, text := range []string{"", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", identity(t).Secret()} {
		if _, err := crypt.ParseSigningKey([]byte(text)); !errors.Is(err, crypt.ErrKeyText) {
			t.Errorf("%q is a signing key: %v", text, err)
		}
	}
}

func FuzzUnwrap(f *testing.F) {
	id := identity(f)
	wrapped, err := crypt.Wrap([]byte("secret"), id.Recipients())
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("age-encryption.org/v1\n-> X25519 AAAA\nAAAA\n--- AAAA\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if secret, err := id.Unwrap(b); err == nil && !bytes.Equal(b, wrapped) {
			t.Errorf("%q comes out of what nobody has wrapped", secret)
		}
	})
}

// Sealing is what encryption costs for each stored byte.
func BenchmarkSealBlock(b *testing.B) {
	k, _, _, err := crypt.NewDataKey(identity(b).Recipients()[0], repository, "data/a/1")
	if err != nil {
		b.Fatal(err)
	}
	const size = 1 << 20
	text, what := make([]byte, size), make([]byte, 41)
	b.SetBytes(size)
	b.ReportAllocs()
	var n uint64
	for b.Loop() {
		n++
		k.SealBlock(make([]byte, 0, size+crypt.TagSize), n, text, what)
	}
}
