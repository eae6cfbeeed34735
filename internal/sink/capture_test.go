package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// plant is a fake cluster whose records are numbered, and a sink for it.
type plant struct {
	*Sink
	t    *testing.T
	fake *kfake.Cluster
	user *kgo.Client
	made int
	want map[string][]string // values by "topic-partition"
}

func newPlant(t *testing.T, brokers int) *plant {
	t.Helper()
	f, err := kfake.NewCluster(kfake.NumBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	user, err := kgo.NewClient(kgo.SeedBrokers(f.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(user.Close)
	log := slog.New(slog.DiscardHandler)
	c, err := kafka.Connect(t.Context(), kafka.Config{BootstrapServers: f.ListenAddrs()}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	repo, err := manifest.OpenOrCreate(t.Context(), mem.New(), c.ID(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cfg := Defaults()
	cfg.Topics, _ = pattern.Parse(nil)
	cfg.FetchWait, cfg.SegmentAge = 5*time.Millisecond, 40*time.Millisecond
	cfg.MetadataEvery, cfg.PointEvery = 30*time.Millisecond, 30*time.Millisecond
	return &plant{
		Sink: &Sink{Cluster: c, Repository: repo, Config: cfg, Agent: manifest.Agent{Program: "test"}, Log: log},
		t:    t, fake: f, user: user, want: make(map[string][]string),
	}
}

func (p *plant) create(topic string, partitions int32) {
	p.t.Helper()
	if err := p.fake.CreateTopic(topic, partitions, nil); err != nil {
		p.t.Fatal(err)
	}
	p.user.PurgeTopicsFromClient(topic) // it may know one of that name that is gone
}

// produce adds n records, each a batch.
func (p *plant) produce(topic string, partition int32, n int) {
	p.t.Helper()
	for range n {
		p.made++
		value := fmt.Sprintf("record %d", p.made)
		if err := p.user.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}).FirstErr(); err != nil {
			p.t.Fatal(err)
		}
		place := fmt.Sprintf("%s-%d", topic, partition)
		p.want[place] = append(p.want[place], value)
	}
}

// held returns the values in the repository, by partition of each incarnation
// of a topic, of which those after the first are called NAME@2 and so on; and
// the gaps as "[from,to)". Offsets have to be without a hole.
func (p *plant) held() (values map[string][]string, gaps []string, state *manifest.State) {
	p.t.Helper()
	values = make(map[string][]string)
	at := make(map[string]int64)
	state, err := p.Repository.Read(context.Background(), 0, func(s *manifest.State, e *manifest.Entry) error {
		for i := range e.Segments {
			p.addSegment(s, e, i, values, at)
		}
		for _, r := range e.Ranges {
			next := s.Streams[r.Stream].Next
			for _, span := range slices.Backward(r.Spans) {
				if span.Gap {
					gaps = append(gaps, fmt.Sprintf("%s [%d,%d) %s", nameOf(s, s.Key(r.Stream)), next-span.Offsets, next, span.Reason))
					at[nameOf(s, s.Key(r.Stream))] = next
				}
				next -= span.Offsets
			}
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return values, gaps, state
}

func (p *plant) addSegment(s *manifest.State, e *manifest.Entry, i int, values map[string][]string, at map[string]int64) {
	p.t.Helper()
	body, err := p.Repository.Store().Get(context.Background(), manifest.SegmentKey(e.Writer, e.Segments[i].Counter), 0, -1)
	if err != nil {
		p.t.Fatal(err)
	}
	defer body.Close()
	object, err := io.ReadAll(body)
	if err != nil {
		p.t.Fatal(err)
	}
	footer, err := e.Segments[i].Open(object[int64(len(object))-e.Segments[i].TailLength():])
	if err != nil {
		p.t.Fatal(err)
	}
	blocks, err := segment.NewDecoder()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, l := range footer.InFileOrder() {
		raw, err := blocks.Decode(l.Block, object[l.Block.Position:][:l.Block.StoredLength], nil)
		if err != nil {
			p.t.Fatal(err)
		}
		place := nameOf(s, manifest.StreamKey{TopicID: l.Stream.TopicID, Partition: l.Stream.Partition})
		for len(raw) > 0 {
			_, one, rest, err := batch.Next(raw)
			if err == nil {
				err = batch.NewDecoder().Decode(one, func(r *batch.Record) error {
					if r.Offset < at[place] {
						return fmt.Errorf("%s: offset %d after %d", place, r.Offset, at[place])
					}
					at[place] = r.Offset + 1
					values[place] = append(values[place], string(r.Value()))
					return nil
				})
			}
			if err != nil {
				p.t.Fatal(err)
			}
			raw = rest
		}
	}
}

func nameOf(s *manifest.State, k manifest.StreamKey) string {
	nth := 0
	n, _ := s.TopicNumber(k.TopicID)
	for _, t := range s.Topics[:n] {
		if t.Name == s.Topics[n].Name {
			nth++
		}
	}
	name := s.Topics[n].Name
	if nth > 0 {
		name = fmt.Sprintf("%s@%d", name, nth+1)
	}
	return fmt.Sprintf("%s-%d", name, k.Partition)
}

// complete says whether all of the records are in the repository.
func (p *plant) complete() bool {
	values, _, _ := p.held()
	for place, want := range p.want {
		if !slices.Equal(values[place], want) {
			return false
		}
	}
	return true
}

// run captures continuously until the test ends.
func (p *plant) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	p.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			p.t.Errorf("Run: %v", err)
		}
	})
}

// await waits until something is so.
func (p *plant) await(what string, so func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			values, gaps, state := p.held()
			p.t.Fatalf("never: %s\nwant %v\nhave %v\ngaps %v\ntopics %+v", what, p.want, values, gaps, state.Topics)
		}
	}
}

// fetching fails fetches of records, but not those that ask whether a topic
// may be read at all.
func fetching(err *kerr.Error, count int) kfake.Fault {
	return kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "t", Partitions: []int32{0}, Err: err, Count: count, When: func(r kmsg.Request) bool {
		return r.(*kmsg.FetchRequest).MaxBytes > 1
	}}
}

// TestFetchErrors: what passes does not show, what does not is named; in no
// case is a partition taken for captured that is not.
func TestFetchErrors(t *testing.T) {
	for _, tc := range []struct {
		err   *kerr.Error
		count int
		want  error // of Once; errors.ErrUnsupported stands for any
	}{
		{kerr.NotLeaderForPartition, 2, nil},
		{kerr.FencedLeaderEpoch, 2, nil},
		{kerr.UnknownLeaderEpoch, 2, nil},
		{kerr.UnknownTopicOrPartition, 2, nil},
		{kerr.UnknownTopicID, 2, nil},
		{kerr.InconsistentTopicID, 2, nil},
		{kerr.OffsetOutOfRange, 2, nil}, // it is in range, after all
		{kerr.OffsetNotAvailable, 2, nil},
		{kerr.ReplicaNotAvailable, 2, nil},
		{kerr.LeaderNotAvailable, 2, nil},
		{kerr.KafkaStorageError, 2, nil},
		{kerr.RequestTimedOut, 2, nil},
		{kerr.TopicAuthorizationFailed, -1, ErrUnreadable},
		{kerr.UnknownServerError, -1, errors.ErrUnsupported},
		{kerr.CorruptMessage, -1, kafka.ErrCorruptBatch},
		{kerr.UnsupportedCompressionType, -1, errors.ErrUnsupported},
	} {
		t.Run(tc.err.Message, func(t *testing.T) {
			t.Parallel()
			p := newPlant(t, 1)
			p.create("t", 2)
			p.produce("t", 0, 3)
			p.produce("t", 1, 3)
			h := p.fake.Fault(fetching(tc.err, tc.count))
			_, err := p.Once(t.Context())
			if h.Hits() == 0 {
				t.Fatal("no fetch has failed")
			}
			_, gaps, state := p.held()
			if len(gaps) > 0 {
				t.Errorf("gaps %v", gaps)
			}
			if tc.want == nil {
				if err != nil || !p.complete() {
					t.Errorf("got %v, complete: %v", err, p.complete())
				}
				return
			}
			if err == nil || tc.want != errors.ErrUnsupported && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), "t-0") && !strings.Contains(err.Error(), `"t"`) {
				t.Errorf("got %v, want %v that names the partition", err, tc.want)
			}
			if len(state.Points) > 0 {
				t.Error("there is a recovery point")
			}
			h.Remove()
			if _, err := p.Once(t.Context()); err != nil || !p.complete() {
				t.Errorf("afterwards: %v, complete: %v", err, p.complete())
			}
		})
	}
}

// A topic that may not be read is named before anything is captured.
func TestForbiddenTopicIsNamedAtOnce(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.create("u", 1)
	p.produce("t", 0, 1)
	p.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "u", Err: kerr.TopicAuthorizationFailed, Count: -1})
	_, err := p.Once(t.Context())
	if !errors.Is(err, ErrUnreadable) || !errors.Is(err, kafka.ErrAuthorization) || !strings.Contains(err.Error(), "u") {
		t.Errorf("got %v", err)
	}
	if _, _, state := p.held(); state.Sequence != 0 {
		t.Errorf("%d entries", state.Sequence)
	}
	if err := p.Run(t.Context()); !errors.Is(err, ErrUnreadable) {
		t.Errorf("Run: %v", err)
	}
}

// Connections that break are opened again.
func TestBrokenConnections(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.produce("t", 0, 3)
	for range 3 {
		p.fake.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
			return nil, errors.New("broken"), r.(*kmsg.FetchRequest).MaxBytes > 1
		})
	}
	if _, err := p.Once(t.Context()); err != nil || !p.complete() {
		t.Errorf("got %v, complete: %v", err, p.complete())
	}
}

// fetched is one answer to a fetch of partition 0 of topic t.
type fetched struct {
	records  []byte
	high     int64
	throttle time.Duration
}

// answerFetches lets next answer all fetches until it says no.
func (p *plant) answerFetches(next func() (fetched, bool)) {
	id := p.fake.TopicInfo("t").TopicID
	p.fake.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		p.fake.KeepControl()
		req := r.(*kmsg.FetchRequest)
		if req.MaxBytes <= 1 {
			return nil, nil, false
		}
		a, ok := next()
		if !ok {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		resp.ThrottleMillis = int32(a.throttle.Milliseconds())
		topic, part := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		topic.Topic, topic.TopicID = "t", id
		part.HighWatermark, part.LastStableOffset, part.RecordBatches = a.high, a.high, a.records
		topic.Partitions = append(topic.Partitions, part)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
}

// A throttled broker answers with nothing, as often as it likes: no gap.
func TestThrottledAnswersAreNoGap(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.produce("t", 0, 5)
	left := 2 * emptyLimit
	p.answerFetches(func() (fetched, bool) { left--; return fetched{high: 5, throttle: 2 * time.Millisecond}, left >= 0 })
	if _, err := p.Once(t.Context()); err != nil || !p.complete() {
		t.Errorf("got %v, complete: %v", err, p.complete())
	}
	if _, gaps, _ := p.held(); len(gaps) > 0 || left >= 0 {
		t.Errorf("gaps %v, %d answers left", gaps, left)
	}
}

// Answers with nothing, of a broker that does not say why, are no end, either:
// fewer than the limit pass, more are a gap that is recorded.
func TestEmptyAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		answers int
		gaps    []string
	}{
		"few":  {emptyLimit - 1, nil},
		"many": {1 << 30, []string{"t-0 [0,5) " + manifest.GapEmpty.String()}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t, 1)
			p.create("t", 1)
			p.produce("t", 0, 5)
			left := tc.answers
			p.answerFetches(func() (fetched, bool) { left--; return fetched{high: 5}, left >= 0 })
			if _, err := p.Once(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, gaps, state := p.held(); !slices.Equal(gaps, tc.gaps) || state.Streams[0].Next != 5 {
				t.Errorf("gaps %v to %d, want %v", gaps, state.Streams[0].Next, tc.gaps)
			}
			if tc.gaps == nil && !p.complete() {
				t.Error("records are missing")
			}
		})
	}
}

// TestCorruptBatch: one bit on the broker's disk ends the capture with an error
// that says where. Nothing of that answer is stored.
func TestCorruptBatch(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.produce("t", 0, 3)
	raw := run(0, 1, 1, 1)
	raw[len(raw)-5] ^= 4 // in the last of three
	damaged := true
	p.answerFetches(func() (fetched, bool) { return fetched{records: raw, high: 3}, damaged })
	_, err := p.Once(t.Context())
	var corrupt *batch.CorruptError
	if !errors.As(err, &corrupt) || corrupt.Offset != 2 || !strings.Contains(err.Error(), "t-0: batch at offset 2") {
		t.Errorf("got %v", err)
	}
	if _, _, state := p.held(); state.SegmentCount != 0 || len(state.Points) != 0 {
		t.Errorf("something was stored: %+v", state)
	}
	damaged = false
	if _, err := p.Once(t.Context()); err != nil || !p.complete() {
		t.Errorf("afterwards: %v, complete: %v", err, p.complete())
	}
}

// The broker's records are stored as they are, whatever the order in which it
// serves them; disorder is an error.
func TestDisorderIsRefused(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.produce("t", 0, 3)
	p.answerFetches(func() (fetched, bool) { return fetched{records: append(run(1, 1), run(0, 1)...), high: 3}, true })
	if _, err := p.Once(t.Context()); !errors.Is(err, errDisorder) || !strings.Contains(err.Error(), "t-0") {
		t.Errorf("got %v", err)
	}
}

// TestTopicsComeAndGo watches topics that are created, extended, deleted and
// created again while capture runs.
func TestTopicsComeAndGo(t *testing.T) {
	p := newPlant(t, 1)
	p.create("first", 1)
	p.produce("first", 0, 2)
	p.run()
	p.await("the first topic", p.complete)

	p.create("second", 2)
	p.produce("second", 1, 3)
	p.await("a topic created later", p.complete)

	if _, err := kadm.NewClient(p.user).CreatePartitions(t.Context(), 2, "second"); err != nil {
		t.Fatal(err)
	}
	p.user.ForceMetadataRefresh()
	p.await("the client sees them", func() bool {
		p.user.ForceMetadataRefresh()
		return p.user.ProduceSync(t.Context(), &kgo.Record{Topic: "second", Partition: 3, Value: []byte("new partition")}).FirstErr() == nil
	})
	p.want["second-3"] = []string{"new partition"}
	p.await("partitions added later", p.complete)
	p.await("the number of partitions", func() bool { _, _, s := p.held(); return s.Topics[1].Partitions == 4 })

	if err := p.fake.DeleteTopic("first"); err != nil {
		t.Fatal(err)
	}
	p.await("the topic is gone", func() bool { _, _, s := p.held(); return s.Topics[0].Gone })
	p.create("first", 1)
	old := p.want["first-0"]
	delete(p.want, "first-0")
	p.produce("first", 0, 4)
	p.want["first@2-0"], p.want["first-0"] = p.want["first-0"], old
	p.await("the second incarnation", p.complete)
	p.await("a point with it", func() bool {
		_, _, s := p.held()
		n := len(s.Points)
		return len(s.Topics) == 3 && !s.Topics[2].Gone && s.Topics[0].Gone && n > 0 && s.Points[n-1].Sequence == s.Sequence
	})
}

// A topic that is recreated between two looks is two topics.
func TestTopicRecreatedAtOnce(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.produce("t", 0, 2)
	p.run()
	p.await("the first incarnation", p.complete)
	old := p.want["t-0"]
	if err := p.fake.DeleteTopic("t"); err != nil {
		t.Fatal(err)
	}
	p.create("t", 1)
	delete(p.want, "t-0")
	p.produce("t", 0, 3)
	p.want["t@2-0"], p.want["t-0"] = p.want["t-0"], old
	p.await("the second incarnation", p.complete)
}

// TestLeadersMove moves partitions between brokers while they are written to.
func TestLeadersMove(t *testing.T) {
	p := newPlant(t, 3)
	p.create("t", 4)
	p.run()
	for round := range int32(25) {
		for part := range int32(4) {
			p.produce("t", part, 1)
		}
		if err := p.fake.MoveTopicPartition("t", round%4, (round+round/4)%3); err != nil {
			t.Fatal(err)
		}
	}
	p.await("all records", p.complete)
	if _, gaps, _ := p.held(); len(gaps) > 0 {
		t.Errorf("gaps %v", gaps)
	}
}

// TestTrimmedAhead: DeleteRecords overtakes the capture, which stands still. The
// offsets are a gap.
func TestTrimmedAhead(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.produce("t", 0, 2)
	p.run()
	p.await("the beginning", p.complete)
	h := p.fake.Fault(fetching(kerr.NotLeaderForPartition, -1))
	p.produce("t", 0, 6)
	if err := p.fake.DeleteRecords("t", 0, 5); err != nil {
		t.Fatal(err)
	}
	all := p.want["t-0"]
	p.want["t-0"] = slices.Concat(all[:2], all[5:])
	if err := h.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	h.Remove()
	p.await("what is left", p.complete)
	_, gaps, state := p.held()
	if want := []string{"t-0 [2,5) " + manifest.GapRetention.String()}; !slices.Equal(gaps, want) || state.Streams[0].LogStart != 5 {
		t.Errorf("gaps %v, want %v, log start %d", gaps, want, state.Streams[0].LogStart)
	}
}

// Once has an end, and a point with everything before its beginning, while
// others go on writing.
func TestOnceEndsUnderLoad(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.produce("t", 0, 20)
	before := slices.Clone(p.want["t-0"])
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				p.user.ProduceSync(context.Background(), &kgo.Record{Topic: "t", Value: []byte("later")})
			}
		}
	}()
	defer func() { close(stop); <-ended }()
	point, err := p.Once(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	values, _, state := p.held()
	if state.Sequence != point || len(values["t-0"]) < len(before) || !slices.Equal(values["t-0"][:len(before)], before) {
		t.Errorf("point %d of %d holds %d records of %d", point, state.Sequence, len(values["t-0"]), len(before))
	}
}

// A topic is recreated while Once is under way: its point is of the topics that
// there are then, the new one included.
func TestOnceWhileATopicIsRecreated(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.produce("t", 0, 2)
	h := p.fake.Fault(fetching(kerr.NotLeaderForPartition, -1))
	go func() {
		if h.Wait(t.Context(), 3) != nil {
			return
		}
		_ = p.fake.DeleteTopic("t")
		_ = p.fake.CreateTopic("t", 1, nil)
		h.Remove()
	}()
	point, err := p.Once(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, _, state := p.held()
	here := 0
	for i := range state.Topics {
		if id := p.fake.TopicInfo("t").TopicID; !state.Topics[i].Gone && state.Topics[i].ID == id {
			here++
		}
	}
	if state.Sequence != point || here != 1 {
		t.Errorf("point %d of %d, topics %+v", point, state.Sequence, state.Topics)
	}
}

// Topics that were captured and are not selected any more are named, once.
func TestDeselectedTopicsAreNamed(t *testing.T) {
	p := newPlant(t, 1)
	for i := range 8 {
		p.create(fmt.Sprintf("t%d", i), 1)
	}
	if _, err := p.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	var said safeBuffer
	p.Log = slog.New(slog.NewTextHandler(&said, nil))
	p.Config.Topics, _ = pattern.Parse([]string{"t3"})
	for range 2 {
		if _, err := p.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if said.count("not selected any more") != 1 || said.count(`count=7 topics="t0, t1, t2, t4, t5 and 2 more"`) != 1 {
		t.Errorf("it says:\n%s", said.String())
	}
	if _, _, state := p.held(); !state.Topics[0].Gone || state.Topics[3].Gone {
		t.Errorf("topics %+v", state.Topics)
	}
}

// Cancelling Once keeps what there is, and makes no point.
func TestOnceInterrupted(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 2)
	p.produce("t", 1, 2)
	p.produce("t", 0, 2)
	h := p.fake.Fault(fetching(kerr.NotLeaderForPartition, -1))
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("mine")
	go func() {
		_ = h.Wait(ctx, 3)
		cancel(mine)
	}()
	if _, err := p.Once(ctx); !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
	values, _, state := p.held()
	if len(state.Points) != 0 || !slices.Equal(values["t-1"], p.want["t-1"]) {
		t.Errorf("points %v, t-1 holds %v", state.Points, values["t-1"])
	}
}
