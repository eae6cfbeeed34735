// Package manifest is the repository as a whole: its descriptor, its log of
// atomic commits and the state that the log builds up. docs/format.md is its
// specification. It knows the object store, but nothing of a Kafka client.
package manifest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/store"
)

// Errors that callers match with errors.Is.
var (
	// ErrNoRepository: the place holds no repository.
	ErrNoRepository = errors.New("no repository")
	// ErrDamaged is wrapped by every error about a repository whose objects are
	// missing or are not what the format or a digest says.
	ErrDamaged = errors.New("the repository is damaged")
	// ErrFenced: another writer has committed what this one was about to.
	ErrFenced = errors.New("another backupd has committed to this repository")
	// ErrOvertaken: an entry that this process could not tell the fate of is in
	// the log after all. Nobody else has written; the log must be opened anew.
	ErrOvertaken = errors.New("an entry of this process is in the log that it took for lost")
	// ErrOtherCluster: the repository belongs to another Kafka cluster.
	ErrOtherCluster = errors.New("the repository belongs to another Kafka cluster")
	// ErrNoEntry: the log does not have the entry that it is to be read until.
	ErrNoEntry = errors.New("there is no such log entry")
	// ErrVersion: the repository was written by a newer program.
	ErrVersion = errors.New("unsupported repository format")
)

// Damage names the object that is damaged or missing.
type Damage struct {
	Key string
	Err error
}

func (d *Damage) Error() string { return fmt.Sprintf("%s: %v", d.Key, d.Err) }

// Unwrap makes a Damage match ErrDamaged and its cause.
func (d *Damage) Unwrap() []error { return []error{ErrDamaged, d.Err} }

// Sound returns how many log entries come before the damage, if that is damage
// of the log.
func (d *Damage) Sound() (entries uint64, ok bool) {
	n, ok := parseLogKey(d.Key)
	if !ok || n == 0 {
		return 0, false
	}
	return n - 1, true
}

func damaged(key, format string, args ...any) error {
	return &Damage{Key: key, Err: fmt.Errorf(format, args...)}
}

// Digest is a SHA-256.
type Digest [sha256.Size]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ID is a random 128-bit identifier.
type ID [16]byte

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// NewID returns a random ID.
func NewID() ID {
	var id ID
	rand.Read(id[:]) // never fails (crypto/rand)
	return id
}

// RepositoryKey is the key of the descriptor.
const RepositoryKey = "repository.json"

// maxDescriptor bounds what is read of a descriptor, in bytes.
const maxDescriptor = 4096

// Repository is an opened repository.
type Repository struct {
	ID        ID
	ClusterID string // Kafka cluster id of the source
	Created   time.Time
	Debug     *slog.Logger // is told what only makes things slower; at first nobody is
	Encrypted bool

	// BeforeAppending, if set, is called when the log is opened to be appended to, which
	// its error prevents.
	BeforeAppending func(context.Context) error

	store  store.Store
	digest Digest // of the descriptor's bytes: entry 1 has it as its predecessor

	keys    keyring
	readers []string          // see SealOnlyFor; nil: whoever has the keys
	signing *crypt.SigningKey // nil: entries are not signed
	trust   trust
	seen    seen
	until   uint64 // see Until

	mu      sync.Mutex
	unknown map[ID]bool // writers of this process whose last entry may yet appear
}

var (
	descriptorText = "{\n  \"format\": 1,\n  \"id\": \"%s\",\n  \"cluster\": \"%s\",\n  \"created\": \"%s\",\n%s  \"sha256\": \"%s\"\n}\n"
	descriptorForm = regexp.MustCompile(`\A\{\n  "format": (\d{1,9}),\n  "id": "([0-9a-f]{32})",\n  "cluster": "([A-Za-z0-9_-]{1,64})",\n  "created": "([0-9TZ:-]{20})",\n(  "encryption": "age-x25519",\n)?  "sha256": "([0-9a-f]{64})"\n\}\n\z`)
	encryptedLine  = "  \"encryption\": \"age-x25519\",\n"
	anyFormat      = regexp.MustCompile(`\A\{\n  "format": (\d{1,9}),\n`)
	zeros          = strings.Repeat("0", 2*sha256.Size)
)

// describe returns the descriptor's bytes.
func describe(id ID, cluster string, created time.Time, encrypted bool) []byte {
	at, line := created.UTC().Format("2006-01-02T15:04:05Z"), ""
	if encrypted {
		line = encryptedLine
	}
	sum := sha256.Sum256(fmt.Appendf(nil, descriptorText, id, cluster, at, line, zeros))
	return fmt.Appendf(nil, descriptorText, id, cluster, at, line, hex.EncodeToString(sum[:]))
}

func parseDescriptor(b []byte) (*Repository, error) {
	if m := anyFormat.FindSubmatch(b); m != nil && string(m[1]) != "1" && !descriptorIntact(b) {
		return nil, damaged(RepositoryKey, "not a repository descriptor")
	} else if m != nil && string(m[1]) != "1" {
		return nil, fmt.Errorf("%w: %s is of format %s, this program knows format 1", ErrVersion, RepositoryKey, m[1])
	}
	m := descriptorForm.FindSubmatch(b)
	if m == nil || !descriptorIntact(b) {
		return nil, damaged(RepositoryKey, "its content does not match its SHA-256")
	}
	created, err := time.Parse(time.RFC3339, string(m[4]))
	if err != nil {
		return nil, damaged(RepositoryKey, "creation time: %w", err)
	}
	r := &Repository{ClusterID: string(m[3]), Created: created, Encrypted: len(m[5]) > 0, Debug: slog.New(slog.DiscardHandler), digest: sha256.Sum256(b)}
	_, _ = hex.Decode(r.ID[:], m[2]) // the pattern has matched
	return r, nil
}

// descriptorIntact checks the digest that every format's descriptor ends with.
func descriptorIntact(b []byte) bool {
	at := len(b) - len(zeros) - len("\"\n}\n")
	if at < 0 {
		return false
	}
	blank := bytes.Clone(b)
	copy(blank[at:], zeros)
	sum := sha256.Sum256(blank)
	return hex.EncodeToString(sum[:]) == string(b[at:at+len(zeros)])
}

// Open opens the repository in st, or returns ErrNoRepository, ErrVersion, a
// *Damage or the store's error.
func Open(ctx context.Context, st store.Store) (*Repository, error) {
	b, err := readObject(ctx, st, RepositoryKey, maxDescriptor)
	if errors.Is(err, store.ErrNotExist) {
		// Objects beside it are no proof of damage: it may have been made meanwhile.
		none := noRepository(ctx, st)
		if b, err = readObject(ctx, st, RepositoryKey, maxDescriptor); errors.Is(err, store.ErrNotExist) {
			return nil, none
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", RepositoryKey, err)
	}
	r, err := parseDescriptor(b)
	if err != nil {
		return nil, err
	}
	r.store = st
	return r, nil
}

// noRepository tells an empty place from one that has lost its descriptor.
func noRepository(ctx context.Context, st store.Store) error {
	found := errors.New("found")
	for _, prefix := range []string{"log/", "data/"} {
		err := st.List(ctx, prefix, func(store.Info) error { return found })
		if errors.Is(err, found) {
			return damaged(RepositoryKey, "missing, although there are objects under %s", prefix)
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
	}
	// A listing may be cut short, without an error: a new descriptor would take the place of the lost one.
	if _, err := st.Stat(ctx, LogKey(1)); err == nil {
		return damaged(RepositoryKey, "missing, although there is %s", LogKey(1))
	} else if !errors.Is(err, store.ErrNotExist) {
		return fmt.Errorf("look for %s: %w", LogKey(1), err)
	}
	return ErrNoRepository
}

// OpenOrCreate opens the repository of the given cluster, or makes one where
// there is nothing. ErrOtherCluster if it belongs to another.
func OpenOrCreate(ctx context.Context, st store.Store, clusterID string, now time.Time) (*Repository, error) {
	return openOrCreate(ctx, st, clusterID, now, false)
}

// OpenOrCreateEncrypted does what OpenOrCreate does, and a repository that it makes
// is encrypted. That gets its first keys from Initialize.
func OpenOrCreateEncrypted(ctx context.Context, st store.Store, clusterID string, now time.Time) (*Repository, error) {
	return openOrCreate(ctx, st, clusterID, now, true)
}

func openOrCreate(ctx context.Context, st store.Store, clusterID string, now time.Time, encrypted bool) (*Repository, error) {
	r, err := Open(ctx, st)
	if errors.Is(err, ErrNoRepository) {
		b := describe(NewID(), clusterID, now, encrypted)
		if _, err := parseDescriptor(b); err != nil {
			return nil, fmt.Errorf("the cluster id %q cannot be recorded: %w", clusterID, err)
		}
		_, perr := st.Put(ctx, RepositoryKey, bytes.NewReader(b), store.PutOptions{IfAbsent: true})
		r, err = Open(ctx, st) // ours, or that of whoever was faster
		if err != nil && perr != nil && !errors.Is(perr, store.ErrExists) {
			return nil, fmt.Errorf("create %s: %w", RepositoryKey, perr)
		}
	}
	if err != nil {
		return nil, err
	}
	if r.ClusterID != clusterID {
		return nil, fmt.Errorf("%w: it was made for cluster %s, this one is %s", ErrOtherCluster, r.ClusterID, clusterID)
	}
	return r, nil
}

// TryFence tells whether the store refuses to create an object that is there, the
// descriptor. If it does not, it has replaced it by the same bytes. That racers
// cannot both win, it cannot tell.
func (r *Repository) TryFence(ctx context.Context) (refused bool, err error) {
	b := describe(r.ID, r.ClusterID, r.Created, r.Encrypted)
	if sha256.Sum256(b) != r.digest {
		return false, errors.New("internal error: the descriptor is written in another way than it was read") // nothing is put in its place
	}
	_, err = r.store.Put(ctx, RepositoryKey, bytes.NewReader(b), store.PutOptions{IfAbsent: true})
	if errors.Is(err, store.ErrExists) {
		return true, nil
	}
	return false, err
}

// lostSight notes that nobody knows whether a writer's last entry is there: a
// store can apply a request long after it was given up.
func (r *Repository) lostSight(writer ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unknown == nil {
		r.unknown = make(map[ID]bool)
	}
	r.unknown[writer] = true
}

func (r *Repository) isUnknown(writer ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unknown[writer]
}

// Store returns the store that holds the repository.
func (r *Repository) Store() store.Store { return r.store }

// readObject reads a whole small object; one larger than limit is damaged.
func readObject(ctx context.Context, st store.Store, key string, limit int64) ([]byte, error) {
	body, err := st.Get(ctx, key, 0, limit+1)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, damaged(key, "more than %d bytes", limit)
	}
	return b, nil
}
