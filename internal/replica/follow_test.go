package replica_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/replica"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/faulty"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// journal is where a follower logs to.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// A follower copies what is appended, goes on after failures of every length, and
// says both.
func TestFollow(t *testing.T) {
	whole := objects(t, golden(t))
	early := maps.Clone(whole)
	maps.DeleteFunc(early, func(key string, _ []byte) bool { return key > manifest.LogKey(4) && strings.HasPrefix(key, "log/") })
	synctest.Test(t, func(t *testing.T) {
		from, to := mem.New(), mem.New()
		put(t, from, early)
		var rules []faulty.Rule
		for call := 1; call <= 20; call++ {
			rules = append(rules, faulty.Rule{Call: call, Fault: faulty.Denied})
		}
		out := &journal{}
		log := slog.New(slog.NewTextHandler(out, nil))
		c, err := copier(t.Context(), from, faulty.New(to, rules...))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		f := &replica.Follower{Copier: c, Every: time.Minute, Log: log}
		go f.Run(ctx)
		time.Sleep(3 * time.Hour)
		if lag, err := replica.Look(ctx, c.From, read(t, c.From), to); err != nil || lag != (replica.Lag{}) {
			t.Errorf("%+v behind, %v, want nothing", lag, err)
		}
		if n := strings.Count(out.String(), "the replica cannot be kept up"); n != len(rules) {
			t.Errorf("%d warnings of %d failures:\n%s", n, len(rules), out)
		}
		if first, _, _ := strings.Cut(out.String(), "\n"); strings.Contains(first, "behind") {
			t.Errorf("before the copy could be read, it is said how far it is behind: %s", first)
		}
		if n := strings.Count(out.String(), "the replica is up to date"); n != 1 {
			t.Errorf("up to date %d times:\n%s", n, out)
		}
		put(t, from, whole)
		if lag, err := replica.Look(ctx, c.From, read(t, c.From), to); err != nil || lag.Entries != 6 || lag.Time <= 0 {
			t.Errorf("%+v behind, %v, want 6 entries", lag, err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		requireEqual(t, from, to)
		if lag, err := replica.Look(ctx, c.From, read(t, c.From), to); err != nil || lag != (replica.Lag{}) {
			t.Errorf("%+v behind, %v, want nothing", lag, err)
		}
		if lag, known := c.Lag(); !known || lag != (replica.Lag{}) {
			t.Errorf("%+v behind, known: %t", lag, known)
		}
	})
}

// anotherEntry returns the object of an entry that differs, and is sound by itself.
func anotherEntry(b []byte) []byte {
	b = bytes.Clone(b)
	b[87]++ // its time
	sum := sha256.Sum256(b[:len(b)-sha256.Size])
	copy(b[len(b)-sha256.Size:], sum[:])
	return b
}

func read(t *testing.T, repo *manifest.Repository) *manifest.State {
	t.Helper()
	state, err := repo.Read(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestLook(t *testing.T) {
	whole := objects(t, golden(t))
	from := mem.New()
	put(t, from, whole)
	repo, err := manifest.Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	state := read(t, repo)
	look := func(there map[string][]byte) (replica.Lag, error) {
		to := mem.New()
		put(t, to, there)
		return replica.Look(t.Context(), repo, state, to)
	}
	if lag, err := look(nil); err != nil || lag.Entries != state.Sequence || lag.Time <= 0 {
		t.Errorf("nothing is there: %+v, %v", lag, err)
	}
	last := manifest.LogKey(state.Sequence)
	spoilt := maps.Clone(whole)
	spoilt[last] = append(bytes.Clone(whole[last]), 0)
	if _, err := look(spoilt); !errors.Is(err, manifest.ErrDamaged) || errors.Is(err, manifest.ErrDiverged) || !strings.Contains(err.Error(), last) {
		t.Errorf("a last entry that is damaged: %v", err)
	}
	other := maps.Clone(whole)
	other[last] = anotherEntry(whole[last])
	if _, err := look(other); !errors.Is(err, manifest.ErrDiverged) {
		t.Errorf("another last entry: %v", err)
	}
	parted := maps.Clone(whole)
	for seq := uint64(2); seq <= state.Sequence; seq++ {
		parted[manifest.LogKey(seq)] = anotherEntry(whole[manifest.LogKey(seq)])
	}
	for _, last := range []uint64{state.Sequence, state.Sequence - 1} {
		if _, err := look(parted); !errors.Is(err, manifest.ErrDiverged) || !strings.Contains(err.Error(), "entry 2 is the first that differs") {
			t.Errorf("logs that part at entry 2: %v", err)
		}
		delete(parted, manifest.LogKey(last))
	}
	parted[manifest.LogKey(4)] = parted[manifest.LogKey(4)][1:]
	if _, err := look(parted); !errors.Is(err, manifest.ErrDiverged) || strings.Contains(err.Error(), "first") {
		t.Errorf("logs that part before an entry that is damaged: %v", err)
	}
	more := maps.Clone(whole)
	more[manifest.LogKey(state.Sequence+1)] = whole[last]
	if _, err := look(more); !errors.Is(err, manifest.ErrDiverged) {
		t.Errorf("an entry more: %v", err)
	}
	broken := faulty.New(mem.New(), faulty.Rule{Call: 1, Fault: faulty.Denied})
	if _, err := replica.Look(t.Context(), repo, state, broken); !errors.Is(err, store.ErrAuth) {
		t.Errorf("access denied: %v", err)
	}
}
