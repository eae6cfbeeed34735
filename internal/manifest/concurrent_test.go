package manifest_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/dir"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// before does something once, just before the first listing.
type before struct {
	store.Store
	do func()
}

func (b *before) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	if do := b.do; do != nil {
		b.do = nil
		do()
	}
	return b.Store.List(ctx, prefix, fn)
}

// Another process makes the repository and writes to it between the two looks that tell an empty place from a damaged
// one.
func TestRepositoryIsMadeMeanwhile(t *testing.T) {
	st := mem.New()
	late := &before{Store: st, do: func() { begin(t, st, 1) }}
	r, err := manifest.OpenOrCreate(t.Context(), late, "cluster-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if want := open(t, st).ID; r.ID != want {
		t.Errorf("the repository is %s, want the one that was made meanwhile, %s", r.ID, want)
	}
}

// leaky leaves an entry out of its first listings, as a directory may that another process adds to meanwhile.
type leaky struct {
	store.Store
	missing  []uint64 // by listing
	listings int
}

func (l *leaky) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	var out string
	if l.listings < len(l.missing) {
		out = manifest.LogKey(l.missing[l.listings])
	}
	l.listings++
	return l.Store.List(ctx, prefix, func(info store.Info) error {
		if info.Key == out {
			return nil
		}
		return fn(info)
	})
}

func TestEntryAddedWhileListed(t *testing.T) {
	st := mem.New()
	log := openLog(t, begin(t, st, 1))
	for i := range int64(9) {
		if _, err := log.Append(t.Context(), extend(0, i, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		missing []uint64
		want    error
	}{
		{[]uint64{5}, nil},
		{[]uint64{5, 7, 9}, nil},
		{[]uint64{5, 5}, manifest.ErrDamaged},
		{[]uint64{4, 5, 5}, manifest.ErrDamaged},
	} {
		t.Run(fmt.Sprint(tc.missing), func(t *testing.T) {
			r := open(t, &leaky{Store: st, missing: tc.missing})
			if state, err := r.Read(t.Context(), 0, nil); !errors.Is(err, tc.want) || err == nil && state.Sequence != 10 {
				t.Errorf("got %v, want %v and entry 10", err, tc.want)
			}
		})
	}
}

// cut ends its listings of the log early, without an error.
type cut struct {
	store.Store
	names int  // that a listing has
	first bool // only one of the log does
}

func (c *cut) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	left := c.names
	err := c.Store.List(ctx, prefix, func(info store.Info) error {
		if left--; left < 0 {
			return nil
		}
		return fn(info)
	})
	if c.first && strings.HasPrefix(prefix, "log/") {
		c.names = math.MaxInt
	}
	return err
}

// A listing ends early: nobody may take what is left for the whole log.
func TestListingCutShort(t *testing.T) {
	const entries = 130
	st := mem.New()
	log := openLog(t, begin(t, st, 1))
	for i := range int64(entries - 1) {
		if _, err := log.Append(t.Context(), extend(0, i, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, names := range []int{30, 31, entries - 1, entries} { // as if it were old
		r := open(t, &cut{Store: st, names: names})
		if l, err := r.OpenLog(t.Context(), time.Now); err != nil || l.State().Sequence != entries {
			t.Errorf("listed %d: entry %d, %v", names, l.State().Sequence, err)
		}
	}
	for _, names := range []int{0, 1, 29} { // a page is missing
		r := open(t, &cut{Store: st, names: names})
		if state, err := r.State(t.Context(), 0); !errors.Is(err, manifest.ErrDamaged) {
			t.Errorf("listed %d: entry %d, %v", names, state.Sequence, err)
		}
		if state, err := r.Read(t.Context(), uint64(names), nil); names > 0 && (err != nil || state.Sequence != uint64(names)) {
			t.Errorf("listed %d: what is listed cannot be read: %v", names, err)
		}
	}
	// So much has come while the log was listed: the next listing has it.
	late := &cut{Store: st, names: 10, first: true}
	if last, err := open(t, late).Last(t.Context()); err != nil || last != entries {
		t.Errorf("entry %d, %v", last, err)
	}
	// Even without a descriptor, and with nothing listed, this is no empty place.
	bare := mem.New()
	if _, err := bare.Put(t.Context(), manifest.LogKey(1), strings.NewReader("x"), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := manifest.OpenOrCreate(t.Context(), &cut{Store: bare}, "cluster-1", created); !errors.Is(err, manifest.ErrDamaged) {
		t.Errorf("a repository is made over another one: %v", err)
	}
}

// A directory is read from the start again and again while its log grows.
func TestReadWhileWritten(t *testing.T) {
	const entries = 400
	st, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	log := openLog(t, begin(t, st, 1))
	r := open(t, st)
	done := make(chan error, 1)
	go func() {
		var err error
		for i := int64(0); i < entries && err == nil; i++ {
			_, err = log.Append(t.Context(), extend(0, i, i+1))
		}
		done <- err
	}()
	for reads := 0; ; reads++ {
		select {
		case err := <-done:
			if err != nil || reads == 0 {
				t.Errorf("the writer ended after %d reads: %v", reads, err)
			}
			return
		default:
		}
		if _, err := r.Read(t.Context(), 0, nil); err != nil {
			t.Errorf("read %d: %v", reads, err)
			<-done
			return
		}
	}
}
