package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/offsite-kafka/offsite/internal/crypt"
)

// Environment variables that hold the content of a file, where the configuration
// names none.
const (
	IdentityVariable   = "OFFSITE_IDENTITY"
	SigningKeyVariable = "OFFSITE_SIGNING_KEY"
)

// Encryption says who can read a repository that is made, and with which identity one
// is read that is encrypted. An identity comes from a file or the environment variable
// OFFSITE_IDENTITY, never from the configuration itself.
type Encryption struct {
	Recipients     []string `yaml:"recipients"`
	RecipientsFile string   `yaml:"recipientsFile"`
	Writers        []string `yaml:"writers"`
	IdentityFile   string   `yaml:"identityFile"`
}

// Holder is a recipient with what its line in a file says about it.
type Holder struct{ Recipient, Comment string }

func (e *Encryption) check(bad func(key, format string, args ...any)) {
	for _, text := range e.Recipients {
		if _, err := crypt.ParseRecipient(text); err != nil {
			bad("encryption.recipients", "%v", err)
		}
	}
	for _, text := range e.Writers {
		if _, err := crypt.ParseRecipient(text); err != nil {
			bad("encryption.writers", "%v", err)
		}
	}
}

// Wanted says whether a repository is to be encrypted.
func (e *Encryption) Wanted() bool { return len(e.Recipients) > 0 || e.RecipientsFile != "" }

// Said names what says that a repository is encrypted.
func (e *Encryption) Said() string {
	switch {
	case len(e.Recipients) > 0:
		return "encryption.recipients"
	case e.RecipientsFile != "":
		return "encryption.recipientsFile"
	case e.IdentityFile != "":
		return "encryption.identityFile"
	}
	return "the environment variable " + IdentityVariable
}

// Readers returns who can read a repository that is made.
func (e *Encryption) Readers() ([]Holder, error) {
	list := holders(e.Recipients)
	if e.RecipientsFile == "" {
		return list, nil
	}
	b, err := os.ReadFile(e.RecipientsFile)
	if err != nil {
		return nil, fmt.Errorf("%w: encryption.recipientsFile: %w", ErrInvalid, err)
	}
	n := len(list)
	comment := ""
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "#"); ok || line == "" {
			comment = strings.TrimSpace(text)
			continue
		}
		if _, err := crypt.ParseRecipient(line); err != nil {
			return nil, fmt.Errorf("%w: encryption.recipientsFile: %s, line %d: %w", ErrInvalid, e.RecipientsFile, i+1, err)
		}
		list = append(list, Holder{line, shortened(comment)})
		comment = ""
	}
	if len(list) == n {
		return nil, fmt.Errorf("%w: encryption.recipientsFile: there is no recipient in %s", ErrInvalid, e.RecipientsFile)
	}
	return list, nil
}

// shortened is as much of a comment as a repository keeps.
func shortened(comment string) string {
	comment = strings.ToValidUTF8(comment, "?")
	return strings.ToValidUTF8(comment[:min(len(comment), 256)], "")
}

// WritersWith returns who else can read and write the log of a repository that is
// made, the own identity among them.
func (e *Encryption) WritersWith(own *crypt.Identity) []Holder {
	list := holders(e.Writers)
	if own != nil {
		for _, r := range own.Recipients() {
			list = append(list, Holder{Recipient: r.String()})
		}
	}
	return list
}

func holders(texts []string) (list []Holder) {
	for _, text := range texts {
		list = append(list, Holder{Recipient: text})
	}
	return list
}

// Identity reads the identity, and returns nil if there is none.
func (e *Encryption) Identity() (*crypt.Identity, error) {
	text, from, err := secret(e.IdentityFile, "encryption.identityFile", IdentityVariable)
	if err != nil || text == nil {
		return nil, err
	}
	id, err := crypt.ParseIdentity(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, from, err)
	}
	return id, nil
}

// secret returns the content of a file, or else of an environment variable, or nil,
// and what to call it.
func secret(file, key, variable string) (text []byte, from string, err error) {
	if file == "" {
		if text := os.Getenv(variable); text != "" {
			return []byte(text), "environment variable " + variable, nil
		}
		return nil, "", nil
	}
	if strings.Contains(strings.ToUpper(file), "SECRET-KEY-") || strings.Contains(file, "PRIVATE KEY") { // which no error may show
		return nil, "", fmt.Errorf("%w: %s: it is a key, and not the name of a file with one; whoever has seen it knows the key now", ErrInvalid, key)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %s: %w", ErrInvalid, key, err)
	}
	return b, key + " " + file, nil
}

// Signing says with which key log entries are signed, and what a log must look like
// to be trusted. The private key comes from a file or the environment variable
// OFFSITE_SIGNING_KEY, never from the configuration itself.
type Signing struct {
	KeyFile   string `yaml:"keyFile"`
	PublicKey string `yaml:"publicKey"`
	Head      string `yaml:"head"`
}

// Head is an entry of the log and the SHA-256 of its object.
type Head struct {
	Sequence uint64
	Digest   [32]byte
}

func (s *Signing) check(bad func(key, format string, args ...any)) {
	if s.PublicKey != "" {
		if _, err := crypt.ParsePublicKey(s.PublicKey); err != nil {
			bad("signing.publicKey", "%v", err)
		}
	}
	if s.Head != "" {
		if _, err := parseHead(s.Head); err != nil {
			bad("signing.head", "%v", err)
		}
	}
}

func parseHead(text string) (h Head, err error) {
	number, digest, _ := strings.Cut(text, ":")
	h.Sequence, err = strconv.ParseUint(number, 10, 64)
	b, herr := hex.DecodeString(digest)
	if err != nil || herr != nil || len(b) != len(h.Digest) || h.Sequence == 0 {
		return h, errors.New("want NUMBER:SHA256, the number of an entry of the log and 64 hex digits")
	}
	copy(h.Digest[:], b)
	return h, nil
}

// Key reads the private key, and returns nil if there is none.
func (s *Signing) Key() (*crypt.SigningKey, error) {
	text, from, err := secret(s.KeyFile, "signing.keyFile", SigningKeyVariable)
	if err != nil || text == nil {
		return nil, err
	}
	key, err := crypt.ParseSigningKey(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, from, err)
	}
	return key, nil
}

// Trusted returns what is pinned, nil where nothing is. The values are valid.
func (s *Signing) Trusted() (public *crypt.PublicKey, head *Head) {
	if p, err := crypt.ParsePublicKey(s.PublicKey); s.PublicKey != "" && err == nil {
		public = &p
	}
	if h, err := parseHead(s.Head); s.Head != "" && err == nil {
		head = &h
	}
	return public, head
}
