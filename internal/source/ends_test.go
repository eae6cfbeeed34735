package source

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// A target that ends where no run of the same restore can have ended is not filled up.
func TestTargetThatEndsWhereItCannot(t *testing.T) {
	for name, c := range map[string]struct {
		skip   int64
		filled bool
		want   string
	}{
		"at a batch":                  {4, false, ""},
		"inside a batch":              {6, false, "inside a batch"},
		"at a batch, once complete":   {4, true, "before the end"},
		"at the end, once complete":   {8, true, ""},
		"behind the end of all of it": {9, true, ""},
	} {
		ln := &lane{topic: &TopicPlan{Target: "orders", filled: c.filled}, skip: c.skip}
		send := (&Runner{}).emitter(t.Context(), newLanes(nil, nil, []*lane{ln}, nil), ln)
		err := send(make([]byte, 100), 4, nil)
		if err == nil {
			err = send(make([]byte, 100), 4, nil)
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Applications may write behind a restore that was complete, and nobody else.
func TestEndsOfTargets(t *testing.T) {
	f := fake(t)
	createTopic(t, f, "orders", 1, nil)
	fill(t, f, "orders", 4)
	r := &Runner{Cluster: connect(t, f)}
	for _, c := range []struct {
		kept   int64
		filled bool
		ok     bool
	}{{4, false, true}, {3, false, false}, {5, false, false}, {4, true, true}, {3, true, true}, {5, true, false}} {
		tr := &track{}
		p := &Plan{Topics: []*TopicPlan{{Target: "orders", filled: c.filled}}, tracks: []*track{tr}}
		conv := &converter{}
		conv.kept = c.kept
		err := r.checkEnds(t.Context(), p, map[*track]*lane{tr: {}}, map[*track]*converter{tr: conv})
		if (err == nil) != c.ok {
			t.Errorf("%d records restored of 4, complete before: %t: %v", c.kept, c.filled, err)
		}
	}
}

func TestOwnBatch(t *testing.T) {
	ln := &lane{topic: &TopicPlan{producer: producerID{77, 3}}}
	for _, c := range []struct {
		h   batch.Header
		own bool
	}{
		{batch.Header{ProducerID: 77, ProducerEpoch: 3, BaseSequence: 6, Count: 4}, true},
		{batch.Header{ProducerID: 77, ProducerEpoch: 3, BaseSequence: 5, Count: 4}, false},
		{batch.Header{ProducerID: 77, ProducerEpoch: 2, BaseSequence: 6, Count: 4}, false},
		{batch.Header{ProducerID: 76, ProducerEpoch: 3, BaseSequence: 6, Count: 4}, false},
		{batch.Header{}, true}, // it is gone
	} {
		if got := ln.isOwn(c.h, 10); got != c.own {
			t.Errorf("%+v: own %t, want %t", c.h, got, c.own)
		}
	}
}

// What a group has committed in a topic means the one that the cluster had last.
func TestGroupsAreNotThoseOfAGoneTopic(t *testing.T) {
	state := &manifest.State{Groups: map[string]*manifest.Group{"readers": {Offsets: map[manifest.OffsetKey]manifest.CommittedOffset{{Topic: "orders"}: {Offset: 3}}}}}
	for _, gone := range []bool{false, true} {
		snap := &Snapshot{State: state}
		p := &Plan{Snapshot: snap, Topics: []*TopicPlan{{Source: Incarnation{Topic: manifest.Topic{Name: "orders", Gone: gone}}, From: snap}}}
		if err := p.addGroups(t.Context()); err != nil || (len(p.Groups) == 0) != gone {
			t.Errorf("gone %t, and the groups are %+v, error %v", gone, p.Groups, err)
		}
	}
}

// A marker behind the end of what is restored commits nothing of it.
func TestMarkersBeyondTheCutDoNotCount(t *testing.T) {
	block := &segment.Block{}
	block.Events = []segment.TxnEvent{{Kind: segment.TxnData, ProducerID: 5, Offset: 0}, {Kind: segment.TxnCommit, ProducerID: 5, Offset: 4}}
	for hi, open := range map[int64]int{5: 0, 4: 1} {
		tr := &track{}
		p := &Plan{Topics: []*TopicPlan{{}}, txns: map[*track]*txnIndex{tr: newTxnIndex()}}
		p.addPart(&part{track: tr, block: block, hi: hi}, now)
		if got := p.txns[tr].close(); got != open {
			t.Errorf("restored up to %d: %d open transactions, want %d", hi, got, open)
		}
	}
}

// Many compressed blocks through few buffers, over connections that break.
func TestBuffersAreNotSharedWhileInUse(t *testing.T) {
	f, want := fake(t, kfake.ClusterID("source")), make(map[string][]string)
	createTopic(t, f, "orders", 3, map[string]string{"retention.ms": "-1"})
	cl := client(t, f, kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(60<<10))
	for round := range 12 {
		var list []*kgo.Record
		for i := range 900 {
			value := append(fmt.Appendf(nil, "%d %d ", round, i), bytes.Repeat([]byte{byte(i), byte(round)}, 150)...)
			list = append(list, &kgo.Record{Topic: "orders", Partition: int32(i % 3), Value: value, Timestamp: firstTime})
			key := placeOf("orders", int32(i%3))
			want[key] = append(want[key], string(value))
		}
		if err := cl.ProduceSync(t.Context(), list...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	st := mem.New()
	if err := backUp(t.Context(), connect(t, f), st, sinkConfig()); err != nil {
		t.Fatal(err)
	}
	target, requests := fake(t), 0
	target.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		target.KeepControl()
		requests++
		return nil, errors.New("connection lost"), requests%7 == 0
	})
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	cluster := connect(t, target)
	if _, err := (&Runner{Cluster: cluster, Log: quiet}).Run(t.Context(), prepareOrders(t, repo, cluster, false)); err != nil {
		t.Fatal(err)
	}
	got := make(map[string][]string)
	reader := client(t, target, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for seen := 0; seen < 12*900; {
		fetches := reader.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			key := placeOf("orders", r.Partition)
			got[key] = append(got[key], string(r.Value))
			seen++
		})
	}
	for key, list := range want {
		for i := range list {
			if i >= len(got[key]) || got[key][i] != list[i] {
				t.Fatalf("%s: record %d of %d differs", key, i, len(list))
			}
		}
	}
}
