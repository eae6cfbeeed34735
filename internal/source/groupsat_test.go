package source

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

func hoursAgo(n int) int64 { return now.Add(-time.Duration(n) * time.Hour).UnixMilli() }

// What a group had committed at the time up to which records come back was for the topic of that time. If it was made
// again since, it says nothing of the topic that comes back.
func TestUntilBeforeATopicWasMadeAgain(t *testing.T) {
	a := newAuthor(t)
	commit := func(offset int64) []manifest.GroupChange {
		return []manifest.GroupChange{{ID: "readers", Type: "classic", Offsets: []manifest.OffsetChange{{Topic: "orders", Committed: true, Offset: offset, Epoch: -1}}}}
	}
	a.commit(manifest.Entry{
		Time: hoursAgo(3), Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1)}, Streams: []manifest.NewStream{{Parent: -1, First: 990}},
		Groups: commit(1000), Point: &manifest.Point{Time: hoursAgo(3)},
	}, written{0, 990, []spec{{base: 990, last: 9}}})
	// Deleted, made again, and filled with records of long ago, of which the group has read none.
	a.commit(manifest.Entry{
		Time: hoursAgo(1), Topics: []manifest.TopicChange{topicNamed(0, "orders", true, 1), topicNamed(1, "orders", false, 1)}, Streams: []manifest.NewStream{{Topic: 1, Parent: -1}},
		Groups: commit(0), Point: &manifest.Point{Time: hoursAgo(1)},
	}, written{1, 0, []spec{{base: 0, last: 3}}})
	until := hoursAgo(2)
	p, err := Prepare(t.Context(), a.repo, nil, Request{Until: &until}, now)
	must(t, err)
	for _, g := range p.Groups {
		for _, o := range g.Offsets {
			if o.Offset > 0 {
				t.Errorf("group %s is restored at offset %d of the topic before (notes %q); it would skip all 4 records", g.Group, o.Offset, p.Notes)
			}
		}
	}
}

// A time that is yet to come stands for the last point, and that is known.
func TestGroupsInTheFuture(t *testing.T) {
	a := newAuthor(t)
	a.commit(manifest.Entry{Time: hoursAgo(1), Point: &manifest.Point{Time: hoursAgo(1)}})
	for at, future := range map[string]bool{"latest": false, Clock(now.UnixMilli()): false, Clock(now.Add(time.Hour).UnixMilli()): true} {
		g, err := LoadGroups(t.Context(), a.repo, at, now)
		must(t, err)
		if g.Future != future || g.Point.Sequence != 1 {
			t.Errorf("--at %s: point %d, future: %t, want %t", at, g.Point.Sequence, g.Future, future)
		}
	}
}

// Where compaction was faster than the capture of the log of groups, nobody knows what was in force meanwhile.
func TestGroupsWhileTheLogWasCompacted(t *testing.T) {
	a := newAuthor(t)
	commit := func(offset int64) []manifest.GroupChange {
		return []manifest.GroupChange{{ID: "readers", Type: "classic", Offsets: []manifest.OffsetChange{{Topic: "orders", Committed: true, Offset: offset, Epoch: -1}}}}
	}
	a.commit(manifest.Entry{
		Time: hoursAgo(9), Topics: []manifest.TopicChange{topicNamed(0, kafka.GroupLogTopic, false, 1)}, Streams: []manifest.NewStream{{Parent: -1}},
		Groups: commit(5), Point: &manifest.Point{Time: hoursAgo(9)},
	}, written{0, 0, []spec{{last: 0}}})
	// backupd is down for eight hours, in which the group commits each minute, and the source keeps the last one.
	a.commit(manifest.Entry{Time: hoursAgo(1), Groups: commit(480), Point: &manifest.Point{Time: hoursAgo(1)}},
		written{0, 1, []spec{{base: 1, last: 499, records: []int32{499}}}})
	g, err := LoadGroups(t.Context(), a.repo, time.UnixMilli(hoursAgo(2)).UTC().Format(time.RFC3339), now)
	must(t, err)
	if o := g.Groups["readers"].Offsets[manifest.OffsetKey{Topic: "orders"}].Offset; g.Exact {
		t.Errorf("as of %s the group is said to be at %d exactly, but the 499 records of the log in between were compacted away", Clock(g.Time), o)
	}
}

// A comparison after the restore of a share group finds no difference, and one that was moved.
func TestCompareShareGroups(t *testing.T) {
	a, f := withQueue(t), fake(t)
	if res := a.run(f, Request{}); !res.Complete() {
		t.Fatalf("not complete: %+v", res.Groups)
	}
	c := &Comparer{Cluster: connect(t, f), Log: quiet, Parts: []string{CompareGroups}}
	res, err := c.Point(t.Context(), planOf(t, a.repo, Request{}))
	must(t, err)
	if len(res.Groups) > 0 {
		t.Errorf("restored and complete, but %+v", res.Groups)
	}
	other := fake(t, kfake.ClusterID("other"))
	a.run(other, Request{})
	must(t, connect(t, other).SetShareGroupOffsets(t.Context(), "queue", []kafka.GroupOffset{{Topic: "orders", Offset: 2}}))
	res, err = c.Clusters(t.Context(), connect(t, other), Request{})
	must(t, err)
	if len(res.Groups) == 0 {
		t.Errorf("share group queue is at 1 here and at 2 there, and the clusters count as equal")
	}
}

// Brokers that throttle give empty answers, which are not the end.
func TestCompareWhatIsThrottled(t *testing.T) {
	var clusters []*kafka.Cluster
	for i, n := range []int{10, 5000} {
		f := fake(t, kfake.ClusterID([]string{"small", "large"}[i]))
		sendAll(t, f, "orders", numberedRecords(10))
		if n > 10 {
			cl := client(t, f)
			var more []*kgo.Record
			more = append(more, numberedRecords(n)[10:]...)
			must(t, cl.ProduceSync(t.Context(), more...).FirstErr())
		}
		clusters = append(clusters, connect(t, f))
		asked := 0
		f.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
			f.KeepControl()
			req := kreq.(*kmsg.FetchRequest)
			part := req.Topics[0].Partitions[0]
			if part.FetchOffset < 10 {
				return nil, nil, false
			}
			if asked++; asked > 2*liveEmptyLimit {
				return nil, nil, false // the quota allows more by now
			}
			resp := req.ResponseKind().(*kmsg.FetchResponse)
			resp.ThrottleMillis = 1
			p := kmsg.NewFetchResponseTopicPartition()
			p.HighWatermark, p.LastStableOffset = 5000, 5000
			resp.Topics = []kmsg.FetchResponseTopic{{Topic: req.Topics[0].Topic, TopicID: req.Topics[0].TopicID, Partitions: []kmsg.FetchResponseTopicPartition{p}}}
			return resp, nil, true
		})
	}
	res, err := (&Comparer{Cluster: clusters[0], Log: quiet, Parts: []string{CompareRecords}}).Clusters(t.Context(), clusters[1], Request{})
	if must(t, err); res.Equal() {
		t.Errorf("10 records here and 5000 there count as equal: %+v", res.Partitions)
	}
}
