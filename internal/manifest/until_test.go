package manifest_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// until opens a repository as it was after an entry.
func until(r *manifest.Repository, entry uint64) *manifest.Repository {
	r.Until(entry)
	return r
}

// Read until an entry, a log is what it was when that was the last one: with and without snapshots, and whatever
// became of it since.
func TestUntil(t *testing.T) {
	const entries = 40
	for seed := range uint64(10) {
		st := mem.New()
		randomLog(t, st, seed, entries, func(n uint64) bool { return n%7 == seed%7 })
		want := states(t, st, entries)
		for n := uint64(1); n <= entries; n++ {
			r := until(open(t, st), n)
			if got, err := r.State(t.Context(), 0); err != nil || !alike(got, want[n]) {
				t.Fatalf("seed %d: until %d the state is\n%+v, want\n%+v, %v", seed, n, got, want[n], err)
			}
			if got, err := r.Read(t.Context(), 0, nil); err != nil || !alike(got, want[n]) {
				t.Fatalf("seed %d: until %d it reads\n%+v, want\n%+v, %v", seed, n, got, want[n], err)
			}
			if _, err := r.Read(t.Context(), n+1, nil); err == nil {
				t.Fatalf("seed %d: until %d, entry %d can be read", seed, n, n+1)
			}
		}
		put(t, st, manifest.LogKey(30), []byte("no entry"))
		if got, err := until(open(t, st), 20).Read(t.Context(), 0, nil); err != nil || !alike(got, want[20]) {
			t.Errorf("seed %d: with damage behind it: %v", seed, err)
		}
		if err := st.Delete(t.Context(), manifest.LogKey(30)); err != nil {
			t.Fatal(err)
		}
		if got, err := until(open(t, st), 20).Read(t.Context(), 0, nil); err != nil || !alike(got, want[20]) {
			t.Errorf("seed %d: with a hole behind it: %v", seed, err)
		}
		if _, err := until(open(t, st), 30).Read(t.Context(), 0, nil); !errors.Is(err, manifest.ErrDamaged) {
			t.Errorf("seed %d: until an entry that is missing: %v", seed, err)
		}
	}
}

// Nobody goes on with a log that they have read a part of, and nobody reads until an entry that there is not.
func TestUntilIsForReading(t *testing.T) {
	st := mem.New()
	begin(t, st, 1)
	l, err := until(open(t, st), 1).OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := l.Append(t.Context(), extend(0, 0, 1)); err == nil {
		t.Errorf("entry %d was appended", e.Sequence)
	}
	if _, err := until(open(t, st), 2).Read(t.Context(), 0, nil); !errors.Is(err, manifest.ErrNoEntry) || !strings.Contains(err.Error(), "until entry 2, and ends with entry 1") {
		t.Errorf("until an entry that is not there: %v", err)
	}
}

// What is pinned behind the entry is looked for all the same: a log that was rolled back, or has another past, is refused.
func TestUntilIsInThePinnedLog(t *testing.T) {
	st, key := mem.New(), signingKey(t)
	begin(t, st, 1)
	l := openLog(t, open(t, st))
	for from := range int64(4) {
		if _, err := l.Append(t.Context(), extend(0, from, from+1)); err != nil {
			t.Fatal(err)
		}
	}
	head := &manifest.Head{Sequence: 5, Digest: sha256.Sum256(objectAt(t, st, manifest.LogKey(5)))}
	if s, err := until(trusting(t, st, key, head), 3).Read(t.Context(), 0, nil); err != nil || s.Sequence != 3 {
		t.Errorf("as it is: %v", err)
	}
	other := *head
	other.Digest[0]++
	if _, err := until(trusting(t, st, key, &other), 3).State(t.Context(), 0); !errors.Is(err, manifest.ErrUntrusted) {
		t.Errorf("another head: %v", err)
	}
	if _, err := until(trusting(t, st, key, &manifest.Head{Sequence: 2, Digest: sha256.Sum256(objectAt(t, st, manifest.LogKey(2)))}), 3).State(t.Context(), 0); !errors.Is(err, manifest.ErrUntrusted) {
		t.Errorf("an entry behind the head that is not signed: %v", err)
	}
	third := bytes.Clone(objectAt(t, st, manifest.LogKey(3)))
	third[60] ^= 1 // of the nonce
	put(t, st, manifest.LogKey(3), redigested(third))
	if _, err := until(trusting(t, st, key, head), 3).State(t.Context(), 0); err == nil {
		t.Error("an entry that is not in the pinned log is believed")
	}
	if err := st.Delete(t.Context(), manifest.LogKey(5)); err != nil {
		t.Fatal(err)
	}
	if _, err := until(trusting(t, st, key, head), 2).State(t.Context(), 0); !errors.Is(err, manifest.ErrUntrusted) {
		t.Errorf("a log that was rolled back: %v", err)
	}
}

// A pin of who reads the log as it was holds all that was removed since.
func TestPinUntil(t *testing.T) {
	st := mem.New()
	begin(t, st, 1)
	l := openLog(t, open(t, st))
	for from := range int64(4) {
		if _, err := l.Append(t.Context(), extend(0, from, from+1)); err != nil {
			t.Fatal(err)
		}
	}
	r := until(open(t, st), 3)
	pin, err := r.NewPin(t.Context(), agentOne, time.Now())
	if err == nil {
		err = r.PutPin(t.Context(), pin)
	}
	if err != nil {
		t.Fatal(err)
	}
	pins, err := open(t, st).Pins(t.Context())
	if err != nil || len(pins) != 1 || !pins[0].Holds(4, time.Now()) || pins[0].Holds(3, time.Now()) {
		t.Errorf("%+v, %v", pins, err)
	}
}
