package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// What is split, and where, is the same for ever: a restore that another version has begun goes on with it.
func TestBatchesAreMadeToFit(t *testing.T) {
	large := func(codec batch.Codec) []spec { return []spec{{last: 6, size: 2000, codec: codec}} }
	small := make([]spec, 12)
	for i := range small {
		small[i] = spec{base: int64(i), size: 100}
	}
	for _, tc := range []struct {
		name  string
		fit   int
		specs []spec
		want  string // records of each batch
		sum   string // of what is not compressed: the first bytes of its digest
	}{
		{"any", 0, large(0), "7", "cb8932b8"},
		{"just fits", 14187, large(0), "7", "cb8932b8"},
		{"one byte more", 14186, large(0), "3 4", "9ff387f9"},
		{"quarters", 5000, large(0), "1 2 2 2", "d60cfabb"},
		{"quarters, lz4", 5000, large(batch.LZ4), "1 2 2 2", ""},
		{"quarters, zstd", 5000, large(batch.Zstd), "1 2 2 2", ""},
		{"single records", 3000, large(0), "1 1 1 1 1 1 1", "45cdef9b"},
		{"single records are too large", 100, large(0), "1 1 1 1 1 1 1", "45cdef9b"},
		{"log append time", 5000, []spec{{last: 6, size: 2000, logAppend: true}}, "2 2 2 1", "bf669ea2"},
		{"compacted", 5000, []spec{{last: 6, size: 2000, records: []int32{0, 2, 3, 6}}}, "2 2", "6dc88026"},
		{"joined", 0, small, "12", "70af456b"},
		{"joined to fit", 700, small, "5 5 2", "2b187b8d"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			next := tc.specs[len(tc.specs)-1].next()
			c, err := convertToFit(tc.fit, nil, 0, next, nil, buildTo, [][]spec{tc.specs}, []int64{0})
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, s := range tc.specs {
				for _, d := range s.deltas() {
					want = append(want, s.identity(s.base+int64(d)))
				}
			}
			if got := c.records(t); !slices.Equal(got, want) {
				t.Errorf("records are missing, or others: %d instead of %d", len(got), len(want))
			}
			if got := strings.Trim(fmt.Sprint(c.counts), "[]"); got != tc.want {
				t.Errorf("got batches of %s records, want %s", got, tc.want)
			}
			if sum := fmt.Sprintf("%x", sha256.Sum256(slices.Concat(c.batches...)))[:8]; tc.sum != "" && sum != tc.sum {
				t.Errorf("got other bytes than ever, %s instead of %s", sum, tc.sum)
			}
		})
	}
}

// bulky returns a repository of a topic with batches of several large records, and what it holds.
func bulky(t *testing.T, more ...*kgo.Record) (st store.Store, truth []string) {
	t.Helper()
	f := fake(t, kfake.ClusterID("source"))
	if err := f.CreateTopic("bulk", 1, map[string]string{"retention.ms": "-1"}); err != nil {
		t.Fatal(err)
	}
	cl := client(t, f, kgo.ProducerBatchCompression(kgo.NoCompression()))
	rng := rand.New(rand.NewPCG(3, 3))
	for _, records := range []int{1, 7, 2, 5} {
		var list []*kgo.Record
		for range records {
			list = append(list, recordOf(rng, 3000))
		}
		list = append(list, more...)
		if err := cl.ProduceSync(t.Context(), list...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			truth = append(truth, identity(r.Timestamp.UnixMilli(), r.Key, r.Value, ""))
		}
	}
	st = mem.New()
	if err := backUp(t.Context(), connect(t, f), st, sinkConfig()); err != nil {
		t.Fatal(err)
	}
	return st, truth
}

func recordOf(rng *rand.Rand, size int) *kgo.Record {
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(rng.Uint32())
	}
	return &kgo.Record{Topic: "bulk", Timestamp: firstTime, Key: []byte("k"), Value: value}
}

// narrow is a cluster whose topic holds a record and takes batches of up to so many bytes.
func narrow(t *testing.T, most string) *kfake.Cluster {
	t.Helper()
	f := fake(t)
	if err := f.CreateTopic("bulk", 1, map[string]string{"max.message.bytes": most, "retention.ms": "-1"}); err != nil {
		t.Fatal(err)
	}
	if err := client(t, f).ProduceSync(t.Context(), &kgo.Record{Topic: "bulk", Value: []byte("there before")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return f
}

func add(ctx context.Context, st store.Store, cluster *kafka.Cluster) (*Plan, error) {
	repo, err := manifest.Open(ctx, st)
	if err != nil {
		return nil, err
	}
	plan, err := Prepare(ctx, repo, cluster, Request{Append: true}, time.Now())
	if err == nil {
		_, err = (&Runner{Cluster: cluster, Log: quiet}).Run(ctx, plan)
	}
	return plan, err
}

// added says what of the truth is not behind the record that was there.
func added(t *testing.T, f *kfake.Cluster, truth []string) error {
	t.Helper()
	cl := client(t, f, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"bulk": {0: kgo.NewOffset().At(1)}}), kgo.FetchMaxWait(10*time.Millisecond))
	defer cl.Close()
	end := f.PartitionInfo("bulk", 0).HighWatermark
	var got []string
	for int64(len(got)) < end-1 {
		cl.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) {
			got = append(got, identity(r.Timestamp.UnixMilli(), r.Key, r.Value, ""))
		})
	}
	if !slices.Equal(got, truth) {
		return fmt.Errorf("%d records are there, of %d, or others", len(got), len(truth))
	}
	return nil
}

// A restore into a topic that takes less than the source did dies at each of its batches, also between the halves of what is split,
// and goes on: nothing comes twice, and nothing is missing.
func TestSplitRestoreDiesAtEveryBatch(t *testing.T) {
	st, truth := bulky(t)
	requests := 0
	for at, done := 1, false; !done; at++ {
		requests = at
		target := narrow(t, "7000")
		g := over(target)
		g.produce = true
		done = g.during(t, target, at, func(ctx context.Context, c *kafka.Cluster) error {
			_, err := add(ctx, st, c)
			return err
		})
		plan, err := add(t.Context(), st, connect(t, target))
		if err != nil {
			t.Fatalf("after a death at request %d: %v", at, err)
		}
		if err := added(t, target, truth); err != nil {
			t.Fatalf("after a death at request %d: %v", at, err)
		}
		if plan.Topics[0].fit != 7000 {
			t.Fatalf("after a death at request %d batches are made to fit %d", at, plan.Topics[0].fit)
		}
		target.Close()
	}
	if requests != 10 { // one more than there are batches
		t.Errorf("died at %d batches", requests)
	}
}

// A record that the target does not take ends a restore with what to do, and then it goes on, with the batches that it has begun with.
func TestRecordThatDoesNotFit(t *testing.T) {
	st, truth := bulky(t, recordOf(rand.New(rand.NewPCG(4, 4)), 9000))
	target := narrow(t, "8000")
	cluster := connect(t, target)
	_, err := add(t.Context(), st, cluster)
	if !errors.Is(err, errTooLarge) || errors.Is(err, ErrRefused) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"bulk-0", "the record at offset 1 is too large: 90", "topic bulk takes 8000", "max.message.bytes", "run again to go on"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	setLimit(t, target, "9500")
	plan, err := add(t.Context(), st, cluster)
	if err == nil {
		err = added(t, target, truth)
	}
	if err != nil || plan.Topics[0].fit != 8000 {
		t.Errorf("fit %d, %v", plan.Topics[0].fit, err)
	}
}

// The plan says what will be split, and refuses a record whose batch is alone in a block.
func TestPlanKnowsWhatDoesNotFit(t *testing.T) {
	s := newScribe(t, 1)
	s.asIs = true
	raw, k := block(0, spec{last: 3, size: 2000})
	s.captureBlock(0, raw, k)
	plan := func(most string) *Plan {
		target := fake(t)
		name := s.log.State().Topics[0].Name
		if err := target.CreateTopic(name, 1, map[string]string{"max.message.bytes": most}); err != nil {
			t.Fatal(err)
		}
		if err := client(t, target).ProduceSync(t.Context(), &kgo.Record{Topic: name}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		p, err := Prepare(t.Context(), s.repo, connect(t, target), Request{Append: true}, firstTime)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := plan("5000"); len(p.Refusals) > 0 || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "at least 1 batch is larger than the 5000 bytes") {
		t.Errorf("%q, %q", p.Refusals, p.Notes)
	}
	if p := plan("9000"); len(p.Refusals)+len(p.Notes) > 0 {
		t.Errorf("%q, %q", p.Refusals, p.Notes)
	}
	raw, k = block(4, spec{base: 4, size: 20000})
	s.captureBlock(0, raw, k)
	p := plan("9000")
	if len(p.Refusals) != 1 || !strings.Contains(p.Refusals[0], "the record at offset 4 has a batch of 20") || !strings.Contains(p.Refusals[0], "takes 9000 at most: set its max.message.bytes (and segment.bytes) to 20") {
		t.Errorf("%q", p.Refusals)
	}
}

func setLimit(t *testing.T, f *kfake.Cluster, most string) {
	t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, "bulk"
	r.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "max.message.bytes", Value: &most}}
	req.Resources = append(req.Resources, r)
	if res, err := req.RequestWith(t.Context(), client(t, f)); err != nil || res.Resources[0].ErrorCode != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
}

// A restore that has begun without knowing what the topic takes is not said to have known.
func TestTooLargeForAnOldRestore(t *testing.T) {
	for fit, want := range map[int]string{0: "this restore has begun without making batches fit: ", 100: "less than when this restore began: "} {
		plan := TopicPlan{Target: "orders", takes: 50, fit: fit}
		if err := plan.checkSize(make([]byte, 60), 2); !errors.Is(err, errTooLarge) || !strings.Contains(err.Error(), want+"set its max.message.bytes") {
			t.Errorf("%d: %v", fit, err)
		}
	}
}
