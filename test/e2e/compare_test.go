//go:build e2e

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// compareResult is what restored compare -o json says.
type compareResult struct {
	Equal      bool
	Partitions []struct {
		Topic, Target                    string
		Partition                        int32
		ReferenceRecords, ClusterRecords int64
		Equal                            bool
		Mismatch                         *struct {
			What                           string
			Fields                         []string
			ReferenceOffset, ClusterOffset *int64
		}
	}
	Groups []struct {
		Group, Topic, What             string
		Partition                      int32
		ReferenceOffset, ClusterOffset *int64
		Ahead                          int64
	}
	Differences []struct {
		Kind, Object, Setting string
		Reference, Cluster    *string
	}
	Notes []string
}

// names lists the differences.
func (c compareResult) names() (list []string) {
	text := func(o *int64) string {
		if o == nil {
			return "-"
		}
		return fmt.Sprint(*o)
	}
	for _, p := range c.Partitions {
		if m := p.Mismatch; m != nil {
			list = append(list, fmt.Sprintf("%s-%d: %s %v at %s/%s", p.Topic, p.Partition, m.What, m.Fields, text(m.ReferenceOffset), text(m.ClusterOffset)))
		} else if !p.Equal {
			list = append(list, "unexplained")
		}
	}
	for _, g := range c.Groups {
		list = append(list, fmt.Sprintf("%s on %s-%d: %s %d", g.Group, g.Topic, g.Partition, g.What, g.Ahead))
	}
	for _, d := range c.Differences {
		list = append(list, fmt.Sprintf("%s: %s %s", d.Kind, d.Object, d.Setting))
	}
	return list
}

// compare compares a cluster, and wants exactly the named differences.
func (r *repository) compare(at *cluster.Cluster, want []string, args ...string) compareResult {
	r.t.Helper()
	code := exitOK
	if len(want) > 0 {
		code = exitDifferent
	}
	c := decodeJSON[compareResult](r.t, r.expect(code, "restored", at, append([]string{"compare", "-o", "json"}, args...)...))
	if got := c.names(); !slices.Equal(got, want) || c.Equal != (len(want) == 0) {
		r.t.Errorf("compare %s: equal %v\n%s\nwant\n%s", strings.Join(args, " "), c.Equal, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return c
}

// fillForCompare makes what a comparison has to see through: transactions of which 3 in 10 are aborted, append times, headers, and what
// fillForGroups makes. It returns all topics.
func fillForCompare(t *testing.T, source *cluster.Cluster) []string {
	fillForGroups(t, source)
	createTopic(t, source, "payments", 2, nil)
	x, random := &transaction{client: transactional(t, source, "payer"), name: "payer"}, rand.New(rand.NewPCG(5, 6))
	for n := range 40 {
		must(t, x.client.BeginTransaction())
		for range 1 + random.IntN(4) {
			x.write(t, "payments", int32(random.IntN(2)), 100)
		}
		x.end(t, kgo.TransactionEndTry(n%10 >= 3))
	}
	createTopic(t, source, "stamped", 1, configs{"message.timestamp.type": "LogAppendTime"})
	p := newRawProducer(t, source, "stamped")
	for i := range 30 {
		header := func(key string, value []byte) batch.RecordHeader {
			return batch.RecordHeader{Key: []byte(key), Value: value}
		}
		p.send(0, codecs[i%len(codecs)], stamped{int64(i), batch.NewRecord(nil, []byte{}, header("b", nil), header("a", []byte{}), header("b", []byte("2")))},
			stamped{int64(i), batch.NewRecord([]byte{}, nil)})
	}
	return []string{mixed, table, "payments", "stamped"}
}

// A restore into another cluster holds what the recovery point and the source hold: 0 with either. One thing changed: 4, and its name.
func TestCompare(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{Properties: eager}), cluster.Start(t, cluster.Options{})
	want := make(map[string]oracle.History)
	records := 0
	for _, topic := range fillForCompare(t, source) {
		want[topic] = readTopic(t, source, topic)
		records += want[topic].Len()
	}
	commitEverywhere(t, source, want)
	r := newRepository(t)
	r.backup(source)
	r.compare(target, []string{"topics: mixed ", "topics: payments ", "topics: stamped ", "topics: table "})
	r.restore(target)

	against := []string{"--against-bootstrap-server", strings.Join(source.Bootstrap(), ",")}
	compared := 0
	for _, p := range r.compare(target, nil).Partitions {
		compared += int(p.ReferenceRecords)
	}
	if compared != records || records < 1000 {
		t.Errorf("%d records are compared, there are %d", compared, records)
	}
	r.compare(target, nil, against...)
	r.compare(source, nil) // which has them at other offsets
	file := writeFile(t, "source.yaml", fmt.Sprintf("version: 1\nkafka:\n  bootstrapServers: [%s]\n", strings.Join(source.Bootstrap(), ",")))
	r.compare(target, nil, "--against", file, "--parts", "records")

	both := func(want ...string) {
		t.Helper()
		r.compare(target, want)
		r.compare(target, want, against...)
	}
	alterTopic(t, target, "stamped", configs{"retention.ms": "12345678"})
	both("topic-configs: stamped retention.ms")
	resetTopic(t, target, "stamped", "retention.ms")
	moveByOne(t, target, "group-2", "payments", 1, 1)
	both("group-2 on payments-1: moved 1")
	moveByOne(t, target, "group-2", "payments", 1, -1)
	both()

	must(t, producer(t, target).ProduceSync(t.Context(), &kgo.Record{Topic: "payments", Value: []byte("of an application")}).FirstErr())
	both(fmt.Sprint("payments-0: additional [] at -/", len(want["payments"][0].Records)))
	text := r.expect(exitDifferent, "restored", target, "compare")
	if !strings.Contains(text.stdout, "payments-0") || !strings.Contains(text.stdout, "the cluster has an additional record") || !strings.Contains(text.stderr, "differs from recovery point") {
		t.Errorf("as text:\n%s\n%s", text.stdout, text.stderr)
	}
	r.compare(target, nil, "--topics", "mixed,table,stamped")
	wantError(t, r.try("restored", target, append([]string{"compare", "--at", "latest"}, against...)...), 2, "--at", "recovery point")
}

// moveByOne commits another offset for a group.
func moveByOne(t *testing.T, c *cluster.Cluster, group, topic string, partition int32, by int64) {
	t.Helper()
	o, ok := committed(t, c, group).Lookup(topic, partition)
	if !ok {
		t.Fatalf("%s has no offset in %s-%d", group, topic, partition)
	}
	o.At += by
	offsets := kadm.Offsets{}
	offsets.Add(o)
	commit(t, c, group, offsets)
}

// resetTopic takes a config off a topic.
func resetTopic(t *testing.T, c *cluster.Cluster, name, config string) {
	t.Helper()
	a := admin(t, c)
	defer a.Close()
	answers, err := a.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: config}}, name)
	if err != nil || answers[0].Err != nil {
		t.Fatalf("reset %s of %s: %v, %+v", config, name, err, answers)
	}
}

// The rights that docs/operations.md names are enough for a comparison; without one of them it is refused, not shortened.
func TestCompareRights(t *testing.T) {
	t.Parallel()
	read, groups := right{"topic", "*", kadm.OpRead}, right{"group", "*", kadm.OpDescribe}
	s := startSecured(t, map[string][]right{
		"least": {read, groups}, "nogroups": {read}, "noread": {{"topic", "*", kadm.OpDescribe}, groups}, "all": {
			read, groups, {"topic", "*", kadm.OpDescribeConfigs}, {"group", "*", kadm.OpDescribeConfigs}, {"cluster", "", kadm.OpDescribe}, {"cluster", "", kadm.OpDescribeConfigs},
		},
	})
	fill(t, s.Cluster, 3, "orders")
	r := newRepository(t)
	r.backup(s.Cluster)
	r.run("restored", nil, append([]string{"compare", "--parts", "records,groups"}, s.as("least")...)...)
	r.run("restored", nil, append([]string{"compare"}, s.as("all")...)...)
	r.expect(exitDifferent, "restored", nil, append([]string{"compare"}, s.as("least")...)...) // the point has what cannot be read
	for _, user := range []string{"nogroups", "noread"} {
		wantError(t, r.try("restored", nil, append([]string{"compare"}, s.as(user)...)...), exitRefused, "not authorized")
	}
}
