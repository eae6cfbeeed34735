package source

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// entriesOpened counts the log entries that are read.
type entriesOpened struct {
	store.Store
	n atomic.Int64
}

func (s *entriesOpened) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if strings.HasPrefix(key, "log/") {
		s.n.Add(1)
	}
	return s.Store.Get(ctx, key, off, n)
}

// aged is a repository whose log has a snapshot after every 100th entry, and a segment in
// every 20th.
type aged struct {
	*author
	st  *entriesOpened
	now time.Time
	ref *manifest.SnapshotRef
}

func newAged(t *testing.T, entries int) *aged {
	m := mem.New()
	a := &aged{st: &entriesOpened{Store: m}, now: firstTime}
	m.Now = func() time.Time { a.now = a.now.Add(time.Second); return a.now }
	a.author = newAuthorIn(t, a.st)
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1)}, Streams: []manifest.NewStream{{Parent: -1}}}, written{0, 0, []spec{{last: 3}}})
	a.grow(entries - 1)
	return a
}

func (a *aged) grow(entries int) {
	a.t.Helper()
	must(a.t, a.log.CatchUp(a.t.Context()))
	for range entries {
		s, e := a.log.State(), manifest.Entry{Time: firstTime.UnixMilli(), Snapshot: a.ref}
		if a.ref = nil; s.Sequence%20 == 0 {
			e.Point = point()
			next := s.Streams[0].Next
			a.commit(e, written{0, next, []spec{{base: next, last: 3}}})
		} else {
			a.commit(e)
		}
		if a.log.State().Sequence%100 == 0 {
			ref, err := a.log.PutSnapshot(a.t.Context())
			must(a.t, err)
			a.ref = ref
		}
	}
}

// since verifies what is new in a process that knows nothing, and returns how many entries it reads.
func (a *aged) since() (*Report, int64) {
	a.t.Helper()
	repo, err := manifest.Open(a.t.Context(), a.st)
	must(a.t, err)
	a.st.n.Store(0)
	report, err := Verify(a.t.Context(), repo, Scope{Level: manifest.LevelDigest, SinceLast: true}, nil)
	must(a.t, err)
	return report, a.st.n.Load()
}

func (a *aged) record(r *Report) {
	a.t.Helper()
	log, err := a.repo.OpenLog(a.t.Context(), time.Now)
	must(a.t, err)
	_, err = log.Record(a.t.Context(), *r.Outcome(), manifest.Agent{})
	must(a.t, err)
}

// verifiedOnce is such a repository that was verified, and has grown since.
func verifiedOnce(t *testing.T, entries int) *aged {
	a := newAged(t, entries)
	r, _ := a.since()
	if r.LogFirst != 1 || len(r.Damages) > 0 {
		t.Fatalf("the first one: %+v", r)
	}
	a.record(r)
	a.grow(150)
	return a
}

// What a verification of what is new reads of the log does not grow with its age.
func TestSinceLastReadsLittleOfALongLog(t *testing.T) {
	t.Parallel()
	read := make(map[int]int64)
	for _, age := range []int{650, 1650} {
		a := verifiedOnce(t, age)
		for range 3 {
			r, n := a.since()
			if len(r.Damages) > 0 || len(r.Orphans) > 0 || r.Entries != a.log.State().Sequence || r.Segments == 0 || r.LogFirst == 1 || r.LogFirst > r.First {
				t.Errorf("%d entries: %+v", age, r)
			}
			a.record(r)
			a.grow(150)
			read[age] = max(read[age], n)
		}
	}
	if read[1650] > read[650] || read[650] > 1500 {
		t.Errorf("read are %v entries", read)
	}
}

// What can be wrong before the snapshot at which the log is read is found all the same, but for
// what is in the entries: that, a verification of everything finds.
func TestSinceLastFindsWhatIsOld(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		do    func(a *aged)
		found string
		since bool // only what is new is enough to find it
	}{
		"a segment is gone":        {func(a *aged) { must(t, a.st.Delete(t.Context(), manifest.SegmentKey(a.log.Writer(), 1))) }, "data/", true},
		"an entry is gone":         {func(a *aged) { must(t, a.st.Delete(t.Context(), manifest.LogKey(77))) }, manifest.LogKey(77), true},
		"a removal of what is old": {func(a *aged) { remove(t, a.author, 1) }, "log/", true},
		"the snapshot is gone":     {func(a *aged) { must(t, a.st.Delete(t.Context(), manifest.SnapshotKey(600))) }, "", true},
		"a snapshot of later": {func(a *aged) {
			b := a.bytes(manifest.SnapshotKey(600))
			must(t, a.st.Delete(t.Context(), manifest.SnapshotKey(600)))
			a.put(manifest.SnapshotKey(600), b)
		}, "", true},
		"a snapshot is altered": {func(a *aged) {
			b := a.bytes(manifest.SnapshotKey(700))
			b[len(b)-1] ^= 1
			a.put(manifest.SnapshotKey(700), b)
		}, manifest.SnapshotKey(700), true},
		"a new entry is altered": {func(a *aged) {
			b := a.bytes(manifest.LogKey(720))
			b[len(b)/2] ^= 1
			a.put(manifest.LogKey(720), b)
		}, manifest.LogKey(720), true},
		"an old entry is altered": {func(a *aged) {
			b := a.bytes(manifest.LogKey(77))
			b[len(b)/2] ^= 1
			a.put(manifest.LogKey(77), b)
		}, manifest.LogKey(77), false},
	} {
		a := verifiedOnce(t, 650)
		test.do(a)
		since, _ := a.since()
		repo, err := manifest.Open(t.Context(), a.st)
		must(t, err)
		whole, err := Verify(t.Context(), repo, Scope{Level: manifest.LevelDigest}, nil)
		must(t, err)
		for what, r := range map[string]*Report{"what is new": since, "everything": whole} {
			found := len(r.Damages) > 0 && strings.HasPrefix(r.Damages[0].Key, test.found)
			if want := test.found != "" && (test.since || r == whole); found != want || !want && len(r.Damages) > 0 {
				t.Errorf("%s: of %s, from entry %d: %+v", name, what, r.LogFirst, r.Damages)
			}
		}
	}
}

func (a *aged) bytes(key string) []byte {
	body, err := a.st.Get(a.t.Context(), key, 0, -1)
	must(a.t, err)
	defer body.Close()
	b, err := io.ReadAll(body)
	must(a.t, err)
	return b
}

func (a *aged) put(key string, b []byte) {
	_, err := a.st.Put(a.t.Context(), key, bytes.NewReader(b), store.PutOptions{})
	must(a.t, err)
}

// A snapshot that came into the store after a verification is not what that one has looked at.
func TestSinceLastBeginsAtNoSnapshotOfLater(t *testing.T) {
	t.Parallel()
	a := verifiedOnce(t, 650)
	b := a.bytes(manifest.SnapshotKey(600))
	if r, _ := a.since(); r.LogFirst != 601 {
		t.Fatalf("from entry %d", r.LogFirst)
	}
	a.put(manifest.SnapshotKey(600), b)
	if r, _ := a.since(); r.LogFirst != 1 || r.First == 1 {
		t.Errorf("from entry %d, of segments from %d", r.LogFirst, r.First)
	}
}
