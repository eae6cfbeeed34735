package sink

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// slow is a store that takes its time for one entry of the log: it says that it
// is full, and puts the entry when the next one comes.
type slow struct {
	store.Store
	mu   sync.Mutex
	hold bool   // the next entry
	key  string // of the entry that is still to be put
	body []byte
}

func (s *slow) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	if !strings.HasPrefix(key, "log/") {
		return s.Store.Put(ctx, key, r, opts)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold {
		s.hold, s.key = false, key
		s.body, _ = io.ReadAll(r)
		return store.Info{}, store.ErrFull
	}
	if s.key != "" {
		if _, err := s.Store.Put(ctx, s.key, bytes.NewReader(s.body), opts); err != nil {
			return store.Info{}, err
		}
		s.key = ""
	}
	return s.Store.Put(ctx, key, r, opts)
}

// What this process gave up and finds in the log later is not another's.
func TestOwnEntryAppearsLate(t *testing.T) {
	for name, capture := range map[string]func(*plant){
		"once": func(p *plant) {
			if _, err := p.Once(p.t.Context()); err != nil {
				p.t.Fatal(err)
			}
		},
		"run": func(p *plant) { p.run() },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t, 1)
			st := &slow{Store: mem.New()}
			repo, err := manifest.OpenOrCreate(t.Context(), st, p.Cluster.ID(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			p.Repository = repo
			p.create("t", 1)
			p.produce("t", 0, 3)
			st.hold = true
			if _, err := p.Once(t.Context()); !errors.Is(err, store.ErrFull) {
				t.Fatalf("got %v", err)
			}
			p.produce("t", 0, 2)
			capture(p)
			p.await("all records, once", p.complete)
		})
	}
}

// rivals are two processes that have begun to capture topic t into one
// repository, and that the test lets commit in turn.
type rivals struct {
	t       *testing.T
	a, b    *session
	streams []*stream
	topic   manifest.Topic
}

func newRivals(t *testing.T, ofB string) *rivals {
	t.Helper()
	s, _ := newSink(t)
	topics, err := s.Cluster.Topics(t.Context(), []string{"t"})
	if err != nil {
		t.Fatal(err)
	}
	other := *s
	if other.Repository, err = manifest.Open(t.Context(), s.Repository.Store()); err != nil {
		t.Fatal(err)
	}
	if other.Config.Topics, err = pattern.Parse([]string{ofB}); err != nil {
		t.Fatal(err)
	}
	r := &rivals{t: t, a: openSession(t, s), b: openSession(t, &other), topic: manifest.Topic{ID: topics[0].ID, Name: "t", Partitions: 2, ReplicationFactor: 1}}
	for p := range int32(2) {
		r.streams = append(r.streams, &stream{key: manifest.StreamKey{TopicID: topics[0].ID, Partition: p}, topic: "t"})
	}
	return r
}

// commit lets one of them commit offsets of a partition.
func (r *rivals) commit(ses *session, partition int, from, to int64) error {
	c := newCovered()
	c.topics = []manifest.Topic{r.topic}
	c.streams[r.streams[partition]] = &coverage{start: from, epoch: -1, logStart: -1, spans: []manifest.Span{{Gap: true, Offsets: to - from}}}
	return ses.committer.commit(r.t.Context(), sealedSegment{covered: c})
}

// Two processes could each take a range that the other needs next. The one that
// has committed last goes on.
func TestOneOfTwoStays(t *testing.T) {
	r := newRivals(t, "*")
	if err := r.commit(r.a, 0, 0, 10); err != nil {
		t.Fatal(err)
	}
	if err := r.commit(r.b, 1, 0, 10); !errors.Is(err, manifest.ErrFenced) || !strings.Contains(err.Error(), "t-0 to offset 10") {
		t.Errorf("the second: %v, want ErrFenced and what was taken", err)
	}
	for i := range int64(3) {
		if err := r.commit(r.a, 1, i*10, i*10+10); err != nil {
			t.Fatalf("the first: %v", err)
		}
	}
}

// Nor can processes that capture different topics share a repository: each would
// call the other's topics gone.
func TestRivalsOfOtherTopics(t *testing.T) {
	r := newRivals(t, "u*")
	if err := r.commit(r.a, 0, 0, 10); err != nil {
		t.Fatal(err)
	}
	r.topic, r.streams[1].topic = manifest.Topic{ID: [16]byte{9}, Name: "u", Partitions: 2, ReplicationFactor: 1}, "u"
	r.streams[1].key.TopicID = [16]byte{9}
	if err := r.commit(r.b, 1, 0, 10); !errors.Is(err, manifest.ErrFenced) {
		t.Errorf("got %v, want ErrFenced", err)
	}
	if state, err := r.a.Repository.Read(t.Context(), 0, nil); err != nil || len(state.Topics) != 1 || state.Topics[0].Gone {
		t.Errorf("topics %+v, %v", state, err)
	}
}

// What was read of a stream does not continue the branch that another process
// has begun meanwhile, though the branch has come to the same offset.
func TestBranchOfAnotherProcess(t *testing.T) {
	r := newRivals(t, "*")
	if err := r.commit(r.a, 0, 0, 10); err != nil {
		t.Fatal(err)
	}
	log, err := r.a.Repository.OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) {
		return &manifest.Entry{
			Streams: []manifest.NewStream{{First: 5}},
			Ranges:  []manifest.Range{{Stream: 1, Spans: []manifest.Span{{Gap: true, Offsets: 5}}}},
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.commit(r.a, 0, 10, 20); !errors.Is(err, manifest.ErrFenced) {
		t.Errorf("got %v, want ErrFenced", err)
	}
}
