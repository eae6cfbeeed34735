package manifest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/faulty"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// descriptor returns what a program that follows docs/format.md would write.
func descriptor(format, id, cluster, at string) []byte {
	text := "{\n  \"format\": " + format + ",\n  \"id\": \"" + id + "\",\n  \"cluster\": \"" + cluster + "\",\n  \"created\": \"" + at + "\",\n  \"sha256\": \"%s\"\n}\n"
	sum := sha256.Sum256(fmt.Appendf(nil, text, strings.Repeat("0", 64)))
	return fmt.Appendf(nil, text, hex.EncodeToString(sum[:]))
}

const (
	someID   = "0123456789abcdef0123456789abcdef"
	someTime = "2026-11-22T03:39:57Z"
)

func TestDescriptor(t *testing.T) {
	good := descriptor("1", someID, "MkU3OEVBNTcwNTJENDM2Qg", someTime)
	for _, tc := range []struct {
		name string
		b    []byte
		want error // nil if it is to be accepted
	}{
		{"as the page has it", good, nil},
		{"longest cluster id", descriptor("1", someID, strings.Repeat("a", 64), someTime), nil},
		{"cluster id too long", descriptor("1", someID, strings.Repeat("a", 65), someTime), manifest.ErrDamaged},
		{"no cluster id", descriptor("1", someID, "", someTime), manifest.ErrDamaged},
		{"cluster id of other letters", descriptor("1", someID, "a b", someTime), manifest.ErrDamaged},
		{"id in capitals", descriptor("1", strings.ToUpper(someID), "c", someTime), manifest.ErrDamaged},
		{"short id", descriptor("1", someID[1:], "c", someTime), manifest.ErrDamaged},
		{"no such day", descriptor("1", someID, "c", "2026-02-31T03:39:57Z"), manifest.ErrDamaged},
		{"format 2", descriptor("2", someID, "c", someTime), manifest.ErrVersion},
		{"format 2 of another shape", descriptor("2", someID, "c d", someTime), manifest.ErrVersion},
		{"format 2, not intact", bytes.Replace(good, []byte(`"format": 1`), []byte(`"format": 2`), 1), manifest.ErrDamaged},
		{"format 01", descriptor("01", someID, "c", someTime), manifest.ErrVersion},
		{"empty", nil, manifest.ErrDamaged},
		{"another file", []byte("{}\n"), manifest.ErrDamaged},
		{"windows line ends", bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")), manifest.ErrDamaged},
		{"a byte behind", append(bytes.Clone(good), '\n'), manifest.ErrDamaged},
		{"too large", make([]byte, 1<<20), manifest.ErrDamaged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st := mem.New()
			put(t, st, manifest.RepositoryKey, tc.b)
			r, err := manifest.Open(t.Context(), st)
			if tc.want != nil {
				if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), manifest.RepositoryKey) {
					t.Errorf("got %v, want %v and the key", err, tc.want)
				}
				if err != nil && errors.Is(err, manifest.ErrVersion) && errors.Is(err, manifest.ErrDamaged) {
					t.Errorf("%v is both", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.ID.String() != someID || !r.Created.Equal(created) || r.Store() != store.Store(st) {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// TestEveryBitAndLengthOfADescriptor: every byte of it counts.
func TestEveryBitAndLengthOfADescriptor(t *testing.T) {
	good := descriptor("1", someID, "c", someTime)
	refused := func(what string, b []byte) {
		st := mem.New()
		put(t, st, manifest.RepositoryKey, b)
		if _, err := manifest.Open(t.Context(), st); !errors.Is(err, manifest.ErrDamaged) {
			t.Errorf("%s: got %v, want damage", what, err)
		}
	}
	for i := range good {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[i] ^= 1 << bit
			refused(fmt.Sprintf("byte %d bit %d", i, bit), b)
		}
		refused(fmt.Sprintf("cut at %d", i), good[:i])
	}
}

func TestCreate(t *testing.T) {
	st := mem.New()
	if _, err := manifest.Open(t.Context(), st); !errors.Is(err, manifest.ErrNoRepository) {
		t.Errorf("an empty place: got %v", err)
	}
	r := create(t, st)
	if r.ClusterID != "cluster-1" || !r.Created.Equal(created) || r.ID == (manifest.ID{}) {
		t.Errorf("got %+v", r)
	}
	want := descriptor("1", r.ID.String(), "cluster-1", someTime)
	if got := read(t, st, manifest.RepositoryKey); !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if again := create(t, st); again.ID != r.ID {
		t.Errorf("it is made again, as %s after %s", again.ID, r.ID)
	}
	if _, err := manifest.OpenOrCreate(t.Context(), st, "cluster-2", created); !errors.Is(err, manifest.ErrOtherCluster) || !strings.Contains(err.Error(), "cluster-2") {
		t.Errorf("another cluster: got %v", err)
	}
}

// What is not listed in full, or has lost its descriptor, is not empty.
func TestNotEmpty(t *testing.T) {
	for _, key := range []string{manifest.LogKey(1), manifest.SegmentKey(manifest.ID{1}, 1)} {
		st := mem.New()
		put(t, st, key, []byte("x"))
		for range 2 {
			_, err := manifest.OpenOrCreate(t.Context(), st, "cluster-1", created)
			wantDamage(t, err, manifest.RepositoryKey)
		}
	}
	st := mem.New()
	put(t, st, "notes.txt", []byte("x"))
	create(t, st)
}

func TestUnrecordableCluster(t *testing.T) {
	st := mem.New()
	if _, err := manifest.OpenOrCreate(t.Context(), st, "no such id", created); err == nil || !strings.Contains(err.Error(), "no such id") {
		t.Errorf("got %v", err)
	}
	if _, err := manifest.Open(t.Context(), st); !errors.Is(err, manifest.ErrNoRepository) {
		t.Errorf("something was made: %v", err)
	}
}

// TestRacingCreators all end up with the same repository.
func TestRacingCreators(t *testing.T) {
	st := mem.New()
	ids := make([]manifest.ID, 8)
	var g sync.WaitGroup
	for i := range ids {
		g.Go(func() {
			r, err := manifest.OpenOrCreate(context.Background(), st, "cluster-1", created)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = r.ID
		})
	}
	g.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("got %s and %s", ids[0], id)
		}
	}
}

// TestCreateWithFaults: at most one repository is made, and a second try finds it.
func TestCreateWithFaults(t *testing.T) {
	for call := 1; call <= 6; call++ {
		for _, fault := range faulty.Faults() {
			if fault == faulty.Hang {
				continue // waits for the caller
			}
			clean := mem.New()
			st := faulty.New(clean, faulty.Rule{Call: call, Fault: fault})
			r, err := manifest.OpenOrCreate(t.Context(), st, "cluster-1", created)
			if err != nil && !known(err) {
				t.Errorf("call %d, %s: %v", call, fault, err)
			}
			st.Settle()
			again, err2 := manifest.OpenOrCreate(t.Context(), clean, "cluster-1", created)
			if err2 != nil || err == nil && again.ID != r.ID {
				t.Errorf("call %d, %s: got %v, %v, then %v, %v", call, fault, r, err, again, err2)
			}
		}
	}
}

// A store that does not refuse to create what is there is noticed, and harmless.
func TestTryFence(t *testing.T) {
	good := mem.New()
	repo, err := manifest.OpenOrCreate(t.Context(), good, "cluster", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if refused, err := repo.TryFence(t.Context()); err != nil || !refused {
		t.Errorf("got %t, %v", refused, err)
	}
	repo, err = manifest.Open(t.Context(), unconditional{good})
	if err != nil {
		t.Fatal(err)
	}
	if refused, err := repo.TryFence(t.Context()); err != nil || refused {
		t.Errorf("of a store that replaces it: %t, %v", refused, err)
	}
	again, err := manifest.Open(t.Context(), good)
	if err != nil || again.ID != repo.ID || !again.Created.Equal(repo.Created) {
		t.Errorf("the repository is %+v, %v, and was %+v", again, err, repo)
	}
	repo, err = manifest.Open(t.Context(), faulty.New(good, faulty.Rule{Op: faulty.Put, Call: 1, Fault: faulty.Denied}))
	if err != nil {
		t.Fatal(err)
	}
	if refused, err := repo.TryFence(t.Context()); refused || !errors.Is(err, store.ErrAuth) {
		t.Errorf("without the right: %t, %v", refused, err)
	}
}

// unconditional ignores IfAbsent.
type unconditional struct{ store.Store }

func (u unconditional) Put(ctx context.Context, key string, r io.Reader, _ store.PutOptions) (store.Info, error) {
	return u.Store.Put(ctx, key, r, store.PutOptions{})
}
