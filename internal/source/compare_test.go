package source

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// numberedRecords are those of the topic that tests change.
func numberedRecords(n int) []*kgo.Record {
	list := make([]*kgo.Record, n)
	for i := range list {
		list[i] = &kgo.Record{
			Topic: "orders", Key: fmt.Appendf(nil, "key %d", i), Value: fmt.Appendf(nil, "value %d", i), Timestamp: firstTime.Add(time.Duration(i) * time.Second),
			Headers: []kgo.RecordHeader{{Key: "a", Value: []byte{1}}, {Key: "b"}, {Key: "b", Value: []byte{}}},
		}
	}
	return list
}

// sendAll writes records into a topic of its own, a few in each batch.
func sendAll(t testing.TB, f *kfake.Cluster, topic string, list []*kgo.Record) {
	t.Helper()
	createTopic(t, f, topic, 1, map[string]string{"retention.ms": "-1"})
	cl := client(t, f)
	for some := range slices.Chunk(list, 97) {
		var batch []*kgo.Record
		for _, r := range some {
			c := *r
			c.Topic = topic
			batch = append(batch, &c)
		}
		must(t, cl.ProduceSync(t.Context(), batch...).FirstErr())
	}
}

// planOf plans what the newest point holds, without a cluster.
func planOf(t testing.TB, repo *manifest.Repository, req Request) *Plan {
	t.Helper()
	plan, err := Prepare(t.Context(), repo, nil, req, now)
	must(t, err)
	return plan
}

func comparerOf(c *kafka.Cluster) *Comparer { return &Comparer{Cluster: c, Log: quiet} }

// said is what a comparison found, as text.
func said(c *Comparison) (list []string) {
	offset := func(o *int64) string {
		if o == nil {
			return "-"
		}
		return fmt.Sprint(*o)
	}
	for _, p := range c.Partitions {
		if m := p.Mismatch; m != nil {
			list = append(list, strings.TrimSpace(fmt.Sprintf("%s-%d %s/%s %s %s", p.Topic, p.Partition, offset(m.Reference), offset(m.Cluster), m.What, strings.Join(m.Fields, ","))))
		} else if !p.Equal {
			list = append(list, "unexplained")
		}
	}
	for _, g := range c.Groups {
		list = append(list, fmt.Sprintf("%s %s-%d %s/%s %s %d", g.Group, g.Topic, g.Partition, offset(g.Reference), offset(g.Cluster), g.What, g.Ahead))
	}
	return append(list, lines(c.Differences)...)
}

// A comparison names each kind of difference and where it is, with a recovery
// point and with a cluster alike.
func TestCompareNamesTheDifference(t *testing.T) {
	const n, at = 1500, 1234
	reference := fake(t, kfake.ClusterID("source"))
	sendAll(t, reference, "orders", numberedRecords(n))
	st := mem.New()
	must(t, backUp(t.Context(), connect(t, reference), st, sinkConfig()))
	repo, err := manifest.Open(t.Context(), st)
	must(t, err)

	target := fake(t, kfake.ClusterID("target"))
	change := func(do func(r *kgo.Record)) func([]*kgo.Record) []*kgo.Record {
		return func(list []*kgo.Record) []*kgo.Record {
			do(list[at])
			return list
		}
	}
	headers := func(list ...kgo.RecordHeader) func([]*kgo.Record) []*kgo.Record {
		return change(func(r *kgo.Record) { r.Headers = list })
	}
	a, null, empty := kgo.RecordHeader{Key: "a", Value: []byte{1}}, kgo.RecordHeader{Key: "b"}, kgo.RecordHeader{Key: "b", Value: []byte{}}
	for name, tc := range map[string]struct {
		change func([]*kgo.Record) []*kgo.Record
		want   string
	}{
		"equal":             {func(list []*kgo.Record) []*kgo.Record { return list }, ""},
		"key":               {change(func(r *kgo.Record) { r.Key = []byte("other") }), "orders-0 1234/1234 changed key"},
		"null-key":          {change(func(r *kgo.Record) { r.Key = nil }), "orders-0 1234/1234 changed key"},
		"value":             {change(func(r *kgo.Record) { r.Value = append(r.Value, 0) }), "orders-0 1234/1234 changed value"},
		"timestamp":         {change(func(r *kgo.Record) { r.Timestamp = r.Timestamp.Add(time.Millisecond) }), "orders-0 1234/1234 changed timestamp"},
		"key-and-value":     {change(func(r *kgo.Record) { r.Key, r.Value = r.Value, r.Key }), "orders-0 1234/1234 changed key,value"},
		"header-order":      {headers(a, empty, null), "orders-0 1234/1234 changed headers"},
		"header-null-empty": {headers(a, null, null), "orders-0 1234/1234 changed headers"},
		"header-twice":      {headers(a, null, empty, empty), "orders-0 1234/1234 changed headers"},
		"no-header":         {headers(), "orders-0 1234/1234 changed headers"},
		"missing":           {func(list []*kgo.Record) []*kgo.Record { return slices.Delete(list, at, at+1) }, "orders-0 1234/1234 missing"},
		"missing-first":     {func(list []*kgo.Record) []*kgo.Record { return list[3:] }, "orders-0 0/0 missing"},
		"missing-tail":      {func(list []*kgo.Record) []*kgo.Record { return list[:at] }, "orders-0 1234/- missing"},
		"nothing":           {func([]*kgo.Record) []*kgo.Record { return nil }, "orders-0 0/- missing"},
		"additional":        {func(list []*kgo.Record) []*kgo.Record { return slices.Insert(list, at, list[0]) }, "orders-0 1234/1234 additional"},
		"additional-last":   {func(list []*kgo.Record) []*kgo.Record { return append(list, list[0]) }, "orders-0 -/1500 additional"},
		"twice":             {func(list []*kgo.Record) []*kgo.Record { return append(list, list...) }, "orders-0 -/1500 additional"},
		"order": {func(list []*kgo.Record) []*kgo.Record {
			list[at], list[at+1] = list[at+1], list[at]
			return list
		}, "orders-0 1234/1234 order"},
	} {
		t.Run(name, func(t *testing.T) {
			sendAll(t, target, name, tc.change(numberedRecords(n)))
			req := Request{Topics: []string{"orders"}, Rename: map[string]string{"orders": name}}
			compare := comparerOf(connect(t, target))
			byPoint, err := compare.Point(t.Context(), planOf(t, repo, req))
			must(t, err)
			byCluster, err := compare.Clusters(t.Context(), connect(t, reference), req)
			must(t, err)
			for which, c := range map[string]*Comparison{"point": byPoint, "cluster": byCluster} {
				if got := strings.Join(said(c), "; "); got != tc.want || c.Equal() != (tc.want == "") {
					t.Errorf("with a %s: equal %v, %q, want %q", which, c.Equal(), got, tc.want)
				}
			}
			if p := byPoint.Partitions[0]; p.ReferenceRecords != n || len(p.ReferenceDigest) != 64 || p.ReferenceDigest != byCluster.Partitions[0].ReferenceDigest {
				t.Errorf("%+v", p)
			}
		})
	}
}

// A null value is not an empty one.
func TestCompareNullAndEmpty(t *testing.T) {
	one, other := fake(t, kfake.ClusterID("one")), fake(t, kfake.ClusterID("other"))
	for f, value := range map[*kfake.Cluster][]byte{one: nil, other: {}} {
		list := numberedRecords(3)
		list[1].Value = value
		sendAll(t, f, "orders", list)
	}
	c, err := comparerOf(connect(t, other)).Clusters(t.Context(), connect(t, one), Request{})
	must(t, err)
	if got := said(c); !slices.Equal(got, []string{"orders-0 1/1 changed value"}) {
		t.Errorf("%q", got)
	}
}

// What was aborted counts on neither side, nor do offsets; and what is in a
// transaction that is open is told.
func TestCompareTransactions(t *testing.T) {
	s := newSource(t)
	s.firstDay(t)
	s.secondDay(t)
	st := mem.New()
	must(t, backUp(t.Context(), connect(t, s.fake), st, sinkConfig()))
	target := fake(t, kfake.ClusterID("target"))
	c := connect(t, target)
	must(t, restore(t.Context(), st, c, ""))
	repo, err := manifest.Open(t.Context(), st)
	must(t, err)
	both := func(want string, note string) {
		t.Helper()
		byPoint, err := comparerOf(c).Point(t.Context(), planOf(t, repo, Request{}))
		must(t, err)
		byCluster, err := comparerOf(c).Clusters(t.Context(), connect(t, s.fake), Request{})
		must(t, err)
		for which, res := range map[string]*Comparison{"point": byPoint, "cluster": byCluster} {
			if got := strings.Join(said(res), "; "); got != want || res.Equal() != (want == "") || strings.Join(res.Notes, "; ") != note {
				t.Errorf("with a %s: %q, notes %q, want %q and %q", which, got, res.Notes, want, note)
			}
		}
		if len(byPoint.Partitions) != 6 {
			t.Errorf("%d partitions are compared", len(byPoint.Partitions))
		}
	}
	both("", "")
	// The source itself holds what was captured of it, at other offsets than the restore.
	self, err := comparerOf(connect(t, s.fake)).Point(t.Context(), planOf(t, repo, Request{}))
	must(t, err)
	if got := said(self); len(got) > 0 {
		t.Errorf("the source differs from its backup: %q", got)
	}

	txn := client(t, target, kgo.TransactionalID("late"))
	must(t, txn.BeginTransaction())
	must(t, txn.ProduceSync(t.Context(), &kgo.Record{Topic: "ledger", Value: []byte("aborted")}).FirstErr())
	both("", "ledger-0: offsets [3,4) are not compared: a transaction is open at the first of them")
	must(t, txn.EndTransaction(t.Context(), kgo.TryAbort))
	both("", "")
	must(t, txn.BeginTransaction())
	must(t, txn.ProduceSync(t.Context(), &kgo.Record{Topic: "ledger", Value: []byte("committed")}).FirstErr())
	must(t, txn.EndTransaction(t.Context(), kgo.TryCommit))
	end, err := comparerOf(c).Point(t.Context(), planOf(t, repo, Request{}))
	must(t, err)
	if got := said(end); !slices.Equal(got, []string{"ledger-0 -/5 additional"}) {
		t.Errorf("after a commit: %q", got)
	}
}

// Groups are compared by the record that comes next.
func TestCompareGroups(t *testing.T) {
	s := newSource(t)
	s.firstDay(t) // readers are at 3 of orders, and at 4 of ledger: in an aborted transaction, behind 2 records
	st := mem.New()
	must(t, backUp(t.Context(), connect(t, s.fake), st, sinkConfig()))
	target := fake(t, kfake.ClusterID("target"))
	c := connect(t, target)
	must(t, restore(t.Context(), st, c, ""))
	repo, err := manifest.Open(t.Context(), st)
	must(t, err)
	admin := kadm.NewClient(client(t, target))
	for _, tc := range []struct {
		group, topic string
		at           int64
		metadata     string
		want         string
	}{
		{"readers", "orders", 3, "m", ""},
		{"readers", "orders", 4, "m", "readers orders-0 3/4 moved 1"},
		{"readers", "orders", 1, "m", "readers orders-0 3/1 moved -2"},
		{"readers", "orders", 6, "m", "readers orders-0 3/6 moved 3"}, // beyond the end, which is 5
		{"readers", "orders", 3, "x", "readers orders-0 3/3 metadata 0"},
		{"readers", "ledger", 3, "m", "readers orders-0 3/3 metadata 0; readers ledger-0 4/3 moved 1"},
		{"readers", "ledger", 2, "m", "readers orders-0 3/3 metadata 0"},
		{"others", "orders", 0, "", "others orders-0 -/0 additional 0; readers orders-0 3/3 metadata 0"},
		{StateGroup(repo.ID), "nothing-of-ours", 0, "", "others orders-0 -/0 additional 0; readers orders-0 3/3 metadata 0"},
	} {
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: tc.topic, At: tc.at, LeaderEpoch: -1, Metadata: tc.metadata})
		if tc.topic != "nothing-of-ours" {
			must(t, admin.CommitAllOffsets(t.Context(), tc.group, offsets))
		}
		for which, compare := range map[string]func() (*Comparison, error){
			"point":   func() (*Comparison, error) { return comparerOf(c).Point(t.Context(), planOf(t, repo, Request{})) },
			"cluster": func() (*Comparison, error) { return comparerOf(c).Clusters(t.Context(), connect(t, s.fake), Request{}) },
		} {
			res, err := compare()
			must(t, err)
			got := said(res)
			slices.Sort(got)
			want := strings.Split(tc.want, "; ")
			slices.Sort(want)
			if strings.Join(got, "; ") != strings.Join(want, "; ") {
				t.Errorf("%+v, with a %s: %q", tc, which, got)
			}
		}
	}
	if _, err := admin.DeleteGroups(t.Context(), "readers", "others"); err != nil {
		t.Fatal(err)
	}
	res, err := comparerOf(c).Point(t.Context(), planOf(t, repo, Request{}))
	must(t, err)
	if got := said(res); len(got) != 2 || got[0] != "readers orders-0 3/- missing 0" && got[1] != "readers orders-0 3/- missing 0" {
		t.Errorf("without the group: %q", got)
	}
}

// A topic that held records before is compared from where the restore began, and
// another point than the restored one is told.
func TestCompareAfterAppend(t *testing.T) {
	repo := firstDayRepository(t)
	f := fake(t, kfake.ClusterID("target"))
	createTopic(t, f, "orders", 2, map[string]string{"retention.ms": "-1"})
	write(t, f, 2)
	c := connect(t, f)
	req := Request{Topics: []string{"orders"}}
	before, err := comparerOf(c).Point(t.Context(), planOf(t, repo, req))
	must(t, err)
	if before.Equal() {
		t.Error("equal before the restore")
	}
	if _, err := (&Runner{Cluster: c, Log: quiet}).Run(t.Context(), prepareOrders(t, repo, c, true)); err != nil {
		t.Fatal(err)
	}
	after, err := comparerOf(c).Point(t.Context(), planOf(t, repo, req))
	must(t, err)
	if got := said(after); len(got) > 0 || !after.Equal() {
		t.Errorf("after it: %q", got)
	}
	until := now.UnixMilli()
	other, err := comparerOf(c).Point(t.Context(), planOf(t, repo, Request{Topics: []string{"orders"}, Until: &until}))
	must(t, err)
	if notes := strings.Join(other.Notes, ";"); other.Equal() || !strings.Contains(notes, "orders holds the restore of orders@1 of point") || !strings.Contains(notes, "without --until-timestamp") {
		t.Errorf("with other bounds: %q", other.Notes)
	}
}

// What only one side has is named, and --parts narrows the comparison down.
func TestCompareParts(t *testing.T) {
	one, other := fake(t, kfake.ClusterID("one")), fake(t, kfake.ClusterID("other"))
	createTopic(t, one, "configs", 1, map[string]string{"retention.ms": "1000"})
	createTopic(t, one, "gone", 1, nil)
	createTopic(t, one, "wide", 3, nil)
	createTopic(t, other, "configs", 1, map[string]string{"retention.ms": "2000"})
	createTopic(t, other, "wide", 2, nil)
	createTopic(t, other, "new", 1, nil)
	for parts, want := range map[string][]string{
		"": {
			"topic-configs: configs retention.ms: 1000, 2000: by hand", "topics: gone : there, -: by hand", "topics: new : -, there: by hand", "topics: wide partitions: 3, 2: by hand",
		},
		"records":  {"topics: gone : there, -: by hand", "topics: wide partitions: 3, 2: by hand"},
		"metadata": {"topic-configs: configs retention.ms: 1000, 2000: by hand", "topics: gone : there, -: by hand", "topics: new : -, there: by hand", "topics: wide partitions: 3, 2: by hand"},
	} {
		compare := comparerOf(connect(t, other))
		if parts != "" {
			compare.Parts = []string{parts}
		}
		c, err := compare.Clusters(t.Context(), connect(t, one), Request{})
		must(t, err)
		got := said(c)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q: got\n%s\nwant\n%s", parts, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if n := len(c.Partitions); (n == 0) != (parts == "metadata") {
			t.Errorf("%q: %d partitions", parts, n)
		}
	}
	_, err := comparerOf(connect(t, other)).Clusters(t.Context(), connect(t, one), Request{Topics: []string{"nope"}})
	if err == nil || !strings.Contains(err.Error(), "cluster one has no topic nope") {
		t.Errorf("of a topic that is not there: %v", err)
	}
}

// Answers that fail in passing, come cut short or empty, make no difference.
func TestCompareOverBadConnections(t *testing.T) {
	t.Parallel()
	one, other := fake(t, kfake.ClusterID("one")), fake(t, kfake.ClusterID("other"))
	for _, f := range []*kfake.Cluster{one, other} {
		sendAll(t, f, "orders", numberedRecords(1000))
	}
	n := 0
	other.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		other.KeepControl()
		n++
		f := req.(*kmsg.FetchRequest)
		switch n % 4 {
		case 0:
			return nil, fmt.Errorf("connection lost"), true
		case 1:
			resp := f.ResponseKind().(*kmsg.FetchResponse)
			topic := kmsg.NewFetchResponseTopic()
			topic.TopicID = f.Topics[0].TopicID
			part := kmsg.NewFetchResponseTopicPartition()
			part.ErrorCode = []int16{6, 0}[n/4%2] // NOT_LEADER_OR_FOLLOWER, and nothing
			topic.Partitions = append(topic.Partitions, part)
			resp.Topics = append(resp.Topics, topic)
			return resp, nil, true
		}
		f.MaxBytes, f.Topics[0].Partitions[0].PartitionMaxBytes = 1, 1
		return nil, nil, false
	})
	compare := comparerOf(connect(t, other))
	compare.Patience = time.Minute
	var done, total int64
	compare.Progress = func(d, t int64) { done, total = max(done, d), t }
	c, err := compare.Clusters(t.Context(), connect(t, one), Request{})
	must(t, err)
	if !c.Equal() || n < 10 || total != 2000 || done != total {
		t.Errorf("%q after %d requests, progress %d of %d", said(c), n, done, total)
	}
}

// What only one of two clusters lets one read is no proof that both have it.
func TestCompareOfWhatCannotBeRead(t *testing.T) {
	one, other := fake(t, kfake.ClusterID("one")), fake(t, kfake.ClusterID("other"))
	own := kafka.ACL{ResourceType: "Group", ResourceName: "g", Pattern: "Literal", Principal: "User:own", Host: "*", Operation: "Read", Permission: "Allow"}
	refuse := func(f *kfake.Cluster, code int16) {
		f.ControlKey(int16(kmsg.DescribeACLs), func(req kmsg.Request) (kmsg.Response, error, bool) {
			resp := req.ResponseKind().(*kmsg.DescribeACLsResponse)
			resp.ErrorCode = code
			return resp, nil, true
		})
	}
	const disabled, denied = 54, 31
	for _, tc := range []struct {
		name   string
		code   int16
		acl    bool
		both   bool
		equal  bool
		reason string
	}{
		{"neither has an authorizer", disabled, false, true, true, "cluster one: "},
		{"one has none, the other no ACLs", disabled, false, false, true, "cluster one: "},
		{"one may not be read", denied, false, false, false, "cluster one: "},
		{"one has none, the other ACLs", disabled, true, false, false, "cluster one: "},
	} {
		if tc.acl {
			_, err := connect(t, other).CreateACLs(t.Context(), []kafka.ACL{own})
			must(t, err)
		}
		if refuse(one, tc.code); tc.both {
			refuse(other, tc.code)
		}
		c, err := comparerOf(connect(t, other)).Clusters(t.Context(), connect(t, one), Request{})
		must(t, err)
		i := slices.IndexFunc(c.Uncompared, func(u Uncompared) bool { return u.Kind == "acls" })
		if i < 0 || !strings.Contains(c.Uncompared[i].Reason, tc.reason) || c.Equal() != tc.equal {
			t.Errorf("%s: equal %v, %+v", tc.name, c.Equal(), c.Uncompared)
		}
	}
}

// Looking at records yields what a restore brings back, at the offsets of the
// source, and translates offsets alike.
func TestLookingAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := stories().Draw(t, "story")
		c := &converted{converter: &converter{track: &track{lo: s.lo, hi: s.hi}, txns: newTxnIndex(), wanted: s.wanted, at: s.lo, tools: newTools()}}
		var got []kept
		c.only = func(r *batch.Record) error {
			got = append(got, kept{r.Offset, identityOf(r)})
			return nil
		}
		if err := c.feed(s.lo, s.hi, s.blocks, s.starts); err != nil {
			t.Fatal(err)
		}
		if want := s.naive(); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		again, err := convertUntil(nil, s.lo, s.hi, s.wanted, buildTo, s.blocks, s.starts)
		if err != nil || !slices.Equal(again.mapped, c.mapped) {
			t.Fatalf("offsets become %v, in a restore %v (%v)", c.mapped, again.mapped, err)
		}
	})
}
