package source

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// manyRequests returns a repository whose restore sends several batches to a partition, and what it holds.
func manyRequests(t *testing.T) (store.Store, map[string][]string) {
	t.Helper()
	s, st := newSource(t), mem.New()
	s.firstDay(t)
	s.secondDay(t)
	s.largeBatches(t)
	if err := backUp(t.Context(), connect(t, s.fake), st, sinkConfig()); err != nil {
		t.Fatal(err)
	}
	return st, s.truth
}

// largeBatches sends some to orders.
func (s *sourceCluster) largeBatches(t *testing.T) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 12 {
		place := int32(i % 2)
		value := make([]byte, 2*rawFrom) // it goes out as it is
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		r := &kgo.Record{Topic: "orders", Partition: place, Timestamp: firstTime.Add(time.Hour), Key: fmt.Append(nil, i), Value: value}
		if err := s.plain.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		s.truth[placeOf("orders", place)] = append(s.truth[placeOf("orders", place)], identity(r.Timestamp.UnixMilli(), r.Key, r.Value, ""))
	}
}

// guillotine ends a process at one of its requests to a cluster: that one and all later ones are not heard, those
// before it took effect.
type guillotine struct {
	mu       sync.Mutex
	at       int  // the request, 0 for none
	produce  bool // only those that produce count
	requests int
	kill     context.CancelFunc
}

// over makes a guillotine for all that is sent to the cluster.
func over(f *kfake.Cluster) *guillotine {
	g := &guillotine{}
	f.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.at == 0 || req.Key() == kmsg.ApiVersions.Int16() || g.produce && g.requests < g.at && req.Key() != kmsg.Produce.Int16() {
			return nil, nil, false
		}
		if g.requests++; g.requests < g.at {
			return nil, nil, false
		}
		g.kill()
		return nil, errors.New("the process is dead"), true
	})
	return g
}

// restore runs a process that ends at a request, and says whether it was done before.
func (g *guillotine) restore(t *testing.T, st store.Store, f *kfake.Cluster, at int) (done bool) {
	t.Helper()
	return g.during(t, f, at, func(ctx context.Context, c *kafka.Cluster) error { return restore(ctx, st, c, "") })
}

// during runs something that ends at a request, and says whether it was done before.
func (g *guillotine) during(t *testing.T, f *kfake.Cluster, at int, do func(context.Context, *kafka.Cluster) error) (done bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g.set(at, cancel)
	defer g.set(0, nil)
	c, err := kafka.Connect(ctx, kafka.Config{BootstrapServers: f.ListenAddrs()}, quiet)
	if err == nil {
		defer c.Close()
		err = do(ctx, c)
	}
	if err != nil && ctx.Err() == nil {
		t.Fatalf("alive, at request %d: %v", at, err)
	}
	return err == nil
}

func (g *guillotine) set(at int, kill context.CancelFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at, g.requests, g.kill = at, 0, kill
}

// A restore dies at each of its requests, the next one at a random request, the third finds everything as if nothing
// had been, and the fourth has nothing to do.
func TestRestoreDiesAtEveryRequest(t *testing.T) {
	t.Parallel()
	st, truth := manyRequests(t)
	rng := rand.New(rand.NewPCG(2, 2))
	requests := 0
	for at, done := 1, false; !done; at++ {
		requests = at
		target := fake(t)
		g := over(target)
		done = g.restore(t, st, target, at)
		again := 1 + rng.IntN(max(10, at))
		g.restore(t, st, target, again)
		cluster := connect(t, target)
		if err := restore(t.Context(), st, cluster, ""); err != nil {
			t.Fatalf("after a death at request %d and one at %d: %v", at, again, err)
		}
		if err := restoredRight(t, target, "", truth); err != nil {
			t.Fatalf("after a death at request %d and one at %d: %v", at, again, err)
		}
		requireNothingToDo(t, st, cluster)
		target.Close()
	}
	if requests < 30 {
		t.Errorf("a whole restore made %d requests: it tested too little", requests)
	}
	t.Logf("%d requests", requests)
}

func requireNothingToDo(t *testing.T, st store.Store, c *kafka.Cluster) {
	t.Helper()
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Prepare(t.Context(), repo, c, Request{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range plan.Topics {
		if topic.Action != ActionNone {
			t.Fatalf("the restore is complete, and would %s %s", topic.Action, topic.Target)
		}
	}
}
