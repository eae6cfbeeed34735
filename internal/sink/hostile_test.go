package sink

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// newSink returns a sink between a fake cluster, with one record in each of the
// two partitions of topic t, and an empty repository.
func newSink(t *testing.T) (*Sink, *kfake.Cluster) {
	t.Helper()
	f, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for p := range int32(2) {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: p, Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
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
	if cfg.Topics, err = pattern.Parse(nil); err != nil {
		t.Fatal(err)
	}
	cfg.FetchWait = 10 * time.Millisecond
	return &Sink{Cluster: c, Repository: repo, Config: cfg, Agent: manifest.Agent{Program: "test"}, Log: log}, f
}

func openSession(t *testing.T, s *Sink) *session {
	t.Helper()
	ses, err := s.open(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	return ses
}

// oneStream adds partition 0 of topic t to the session's table.
func oneStream(t *testing.T, ses *session) *stream {
	t.Helper()
	topics, err := ses.Cluster.Topics(t.Context(), []string{"t"})
	if err != nil {
		t.Fatal(err)
	}
	key := manifest.StreamKey{TopicID: topics[0].ID}
	p := topics[0].Partitions[0]
	ses.table.add(&stream{key: key, topic: "t", lastEpoch: -1, leader: p.Leader, leaderEpoch: p.LeaderEpoch, stop: math.MaxInt64, emptyFrom: -1})
	return ses.table.get(key)
}

// What was fetched when the session ends, and did not reach the gatherer any
// more, must not count: a recovery point could be taken for complete.
func TestFetchedButNotHandedOnIsBehind(t *testing.T) {
	s, _ := newSink(t)
	ses := openSession(t, s)
	st := oneStream(t, ses)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ses.fetchLoop(ctx, st.leader) }() // nobody takes its pieces
	for {
		if next, _ := ses.table.position(st); next == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-ended
	if n := ses.table.behind(map[manifest.StreamKey]int64{st.key: 1}); n != 1 {
		t.Errorf("%d records are missing before the recovery point, want 1", n)
	}
}

func TestLeaderEpochsNeverGoBack(t *testing.T) {
	tab := newTable()
	k := manifest.StreamKey{Partition: 1}
	tab.add(&stream{key: k, leader: 2, leaderEpoch: 5})
	tab.lead(k, 1, 4)
	if s := tab.get(k); s.leader != 2 || s.leaderEpoch != 5 {
		t.Errorf("leader %d of epoch %d after an older one was named, want 2 of 5", s.leader, s.leaderEpoch)
	}
	tab.lead(k, 3, 6)
	if s := tab.get(k); s.leader != 3 || s.leaderEpoch != 6 {
		t.Errorf("leader %d of epoch %d, want 3 of 6", s.leader, s.leaderEpoch)
	}
}

// A partition whose start is not known yet holds records that were acknowledged
// before the point.
func TestPointWaitsForEveryPartition(t *testing.T) {
	s, f := newSink(t)
	failed := 0
	f.ControlKey(int16(kmsg.ListOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		req := kreq.(*kmsg.ListOffsetsRequest)
		if failed == 2 || req.Topics[0].Partitions[0].Timestamp != -2 {
			return nil, nil, false
		}
		failed++ // before and after the groups are read
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, rt := range req.Topics {
			st := kmsg.NewListOffsetsResponseTopic()
			st.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				sp := kmsg.NewListOffsetsResponseTopicPartition()
				sp.Partition = rp.Partition
				if sp.Partition == 1 {
					sp.ErrorCode = kerr.UnknownTopicOrPartition.Code
				} else {
					sp.Offset = 0
				}
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	point, err := s.Once(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	state, err := s.Repository.Read(t.Context(), point, nil)
	if err != nil {
		t.Fatal(err)
	}
	if failed != 2 || len(state.Streams) != 2 {
		t.Errorf("the point holds %d of 2 partitions", len(state.Streams))
	}
}

// A leader can name the end of an epoch that lies beyond what this process has
// of that epoch: [10,15) was captured under epoch 3, the leader has epoch 1 there.
func TestBranchBeginsWhereEpochsPart(t *testing.T) {
	for name, c := range map[string]struct {
		d    divergence
		want int64
	}{
		"later epoch below the end": {divergence{from: 15, epoch: 1}, 10},
		"end within the epoch":      {divergence{from: 4, epoch: 1}, 4},
		"no epoch in common":        {divergence{from: 2, epoch: 0}, 0},
		"epoch unknown":             {divergence{from: 12, epoch: math.MaxInt32}, 12},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newSink(t)
			id := [16]byte{1}
			for i, epoch := range []int32{1, 3} {
				commitTen(t, s.Repository, id, i, epoch)
			}
			c.d.key = manifest.StreamKey{TopicID: id}
			ses := &session{Sink: s}
			if err := ses.beginBranch(t.Context(), &c.d); err != nil {
				t.Fatal(err)
			}
			state, err := s.Repository.Read(t.Context(), 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := state.Current(c.d.key); n != 1 || state.Streams[n].First != c.want {
				t.Errorf("current stream %d of %+v, want a branch from offset %d", n, state.Streams, c.want)
			}
		})
	}
}

// commitTen commits ten offsets of a stream under a leader epoch.
func commitTen(t *testing.T, repo *manifest.Repository, id [16]byte, nth int, epoch int32) {
	t.Helper()
	log, err := repo.OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) {
		e := &manifest.Entry{
			Segments: []manifest.Segment{{Counter: 1, Ref: segment.Ref{Size: 1000, FooterLength: 100, FooterDigest: sha256.Sum256(nil)}}},
			Ranges:   []manifest.Range{{LeaderEpoch: epoch, EpochGiven: true, Spans: []manifest.Span{{Offsets: 10, Records: 10}}}},
		}
		if nth == 0 {
			e.Topics = []manifest.TopicChange{{Topic: manifest.Topic{ID: id, Name: "t", Partitions: 1, ReplicationFactor: 1}}}
			e.Streams = []manifest.NewStream{{Parent: -1}}
		}
		return e, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Answers without a batch are no gap while the offset lies in tiered storage,
// which may be slow or throttled for as long as it likes.
func TestNoGapInTieredStorage(t *testing.T) {
	for name, c := range map[string]struct {
		local int64
		gaps  int
	}{"on the leader's disk": {0, 1}, "in tiered storage": {1, 0}} {
		t.Run(name, func(t *testing.T) {
			s, f := newSink(t)
			ses := openSession(t, s)
			st := oneStream(t, ses)
			f.ControlKey(int16(kmsg.ListOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
				f.KeepControl()
				req := kreq.(*kmsg.ListOffsetsRequest)
				rp := req.Topics[0].Partitions[0]
				if rp.Timestamp != -4 {
					return nil, nil, false
				}
				resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
				topic, part := kmsg.NewListOffsetsResponseTopic(), kmsg.NewListOffsetsResponseTopicPartition()
				topic.Topic, part.Offset = "t", c.local
				topic.Partitions = append(topic.Partitions, part)
				resp.Topics = append(resp.Topics, topic)
				return resp, nil, true
			})
			gaps := 0
			for range emptyLimit {
				pieces, err := ses.answeredEmpty(t.Context(), st, &kafka.FetchedPartition{HighWatermark: 1, PreferredReplica: -1}, 0, true)
				if err != nil {
					t.Fatal(err)
				}
				gaps += len(pieces)
			}
			if gaps != c.gaps {
				t.Errorf("%d gaps, want %d", gaps, c.gaps)
			}
		})
	}
}

// The groups of a point speak of the topics that were there when it was begun.
func TestNoPointAcrossARecreatedTopic(t *testing.T) {
	s, _ := newSink(t)
	ses := openSession(t, s)
	ses.observer.topics = map[kafka.TopicID]*observed{{2}: {topic: kafka.Topic{Name: "t", ID: kafka.TopicID{2}}}}
	ses.observer.next = &cut{names: map[string]kafka.TopicID{"t": {1}}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := ses.observer.completeCut(ctx); err != nil {
		t.Errorf("the cut was handed on: %v", err)
	}
}

// The topics of a point are those of its cut, also if there are others by the
// time at which its entry is written.
func TestPointHasTheTopicsOfItsCut(t *testing.T) {
	s, _ := newSink(t)
	ses := openSession(t, s)
	ses.observer.list = []manifest.Topic{{ID: [16]byte{2}, Name: "t", Partitions: 1, ReplicationFactor: 1}}
	old := manifest.Topic{ID: [16]byte{1}, Name: "t", Partitions: 1, ReplicationFactor: 1}
	ses.steps = make(chan step, 1)
	g := newGatherer(ses)
	g.covered.cut = &cut{time: time.Now(), topics: []manifest.Topic{old}}
	if err := g.seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := <-ses.steps
	e, err := ses.committer.build(ses.log.State(), sealedSegment{covered: st.seal.covered})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Topics) != 1 || e.Topics[0].ID != old.ID || e.Topics[0].Gone {
		t.Errorf("the point's entry states %+v, want topic id %v alone", e.Topics, old.ID)
	}
}

// What is fetched of a stream before the gatherer knows where it begins could
// be sealed without its beginning.
func TestStreamIsFetchedOnceItIsRegistered(t *testing.T) {
	s, _ := newSink(t)
	ses := openSession(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nobody takes the registration
	topic := &kafka.Topic{Name: "t", ID: kafka.TopicID{1}}
	if err := ses.addStream(ctx, topic, &kafka.Partition{}, 0); err == nil {
		t.Error("registered with nobody")
	}
	if ses.table.get(manifest.StreamKey{TopicID: topic.ID}) != nil {
		t.Error("the stream may be fetched")
	}
}

// Offsets are asked for by name. Those of the topic that has the name by now say
// nothing about the one that had it before.
func TestOffsetsOfAnotherIncarnation(t *testing.T) {
	s, _ := newSink(t)
	ses := openSession(t, s)
	st := oneStream(t, ses)
	st.key.TopicID = [16]byte{9}
	for _, next := range []int64{-1, 5} { // before and behind what the name stands for now
		st.next = next
		pieces, err := ses.outOfRange(t.Context(), st)
		if len(pieces) > 0 || err != nil || st.after.IsZero() {
			t.Errorf("at offset %d: %d gaps, %v, parked until %v", next, len(pieces), err, st.after)
		}
		if ses.isLocal(t.Context(), st, 0) {
			t.Error("an offset is said to be local")
		}
	}
}
