package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metadata"
)

// captured is a recovery point with this metadata; "" stands for a kind that is not captured.
func captured(kindsAndContents ...string) *Snapshot {
	state := &manifest.State{Metadata: make(map[string]manifest.Metadata)}
	for i := 0; i < len(kindsAndContents); i += 2 {
		m := manifest.Metadata{}
		if text := kindsAndContents[i+1]; text != "" {
			m.Content = &text
		}
		state.Metadata[kindsAndContents[i]] = m
	}
	return &Snapshot{State: state, Point: manifest.PointRef{Sequence: 7}}
}

func aclText(principals ...string) string {
	var list []string
	for _, p := range principals {
		list = append(list, fmt.Sprintf(`{"host":"*","name":"t","operation":"Read","pattern":"Literal","permission":"Allow","principal":"User:%s","type":"Topic"}`, p))
	}
	return "[" + strings.Join(list, ",") + "]"
}

// lines are differences as text.
func lines(list []Difference) (text []string) {
	value := func(s *string) string {
		if s == nil {
			return "-"
		}
		return *s
	}
	for _, d := range list {
		do := "by hand"
		if d.Restorable {
			do = "set"
		}
		text = append(text, fmt.Sprintf("%s: %s %s: %s, %s: %s", d.Kind, d.Object, d.Setting, value(d.Backup), value(d.Cluster), do))
	}
	return text
}

func TestAddSettings(t *testing.T) {
	set := func(object, name, value string) metadata.Setting {
		return metadata.Setting{Object: object, Name: name, Value: value, Secret: value == "?"}
	}
	brokers := []kafka.Broker{{ID: 1}}
	for _, c := range []struct {
		name         string
		kind         metadata.Kind
		backup, live []metadata.Setting
		want         []string
		uncompared   int
	}{
		{"equal", metadata.BrokerConfigs, []metadata.Setting{set("", "log.retention.ms", "1")}, []metadata.Setting{set("", "log.retention.ms", "1")}, nil, 0},
		{"missing", metadata.BrokerConfigs, []metadata.Setting{set("", "log.retention.ms", "1")}, nil, []string{"broker-configs: all brokers log.retention.ms: 1, -: set"}, 0},
		{"different", metadata.BrokerConfigs, []metadata.Setting{set("1", "log.retention.ms", "1")}, []metadata.Setting{set("1", "log.retention.ms", "2")},
			[]string{"broker-configs: broker 1 log.retention.ms: 1, 2: set"}, 0},
		{"more", metadata.BrokerConfigs, nil, []metadata.Setting{set("1", "log.retention.ms", "2")}, []string{"broker-configs: broker 1 log.retention.ms: -, 2: by hand"}, 0},
		{"no such broker", metadata.BrokerConfigs, []metadata.Setting{set("2", "log.retention.ms", "1")}, nil, []string{"broker-configs: broker 2 log.retention.ms: 1, -: by hand"}, 0},
		{"dangerous", metadata.BrokerConfigs, []metadata.Setting{set("", "metric.reporters", "x.Evil"), set("", "listeners", "x"), set("", "max.connections", "0"), set("", "new.config", "1")}, nil,
			[]string{
				"broker-configs: all brokers metric.reporters: x.Evil, -: by hand", "broker-configs: all brokers listeners: x, -: by hand",
				"broker-configs: all brokers max.connections: 0, -: by hand", "broker-configs: all brokers new.config: 1, -: by hand",
			}, 0},
		{"secret", metadata.BrokerConfigs, []metadata.Setting{set("", "log.retention.ms", "?")}, nil, []string{"broker-configs: all brokers log.retention.ms: (sensitive), -: by hand"}, 0},
		{"secret on both sides", metadata.BrokerConfigs, []metadata.Setting{set("", "a", "?")}, []metadata.Setting{set("", "a", "?")}, nil, 1},
		{"group", metadata.GroupConfigs, []metadata.Setting{set("g", "consumer.session.timeout.ms", "1"), set("g", "other", "1")}, nil,
			[]string{"group-configs: g consumer.session.timeout.ms: 1, -: set", "group-configs: g other: 1, -: by hand"}, 0},
		{"acl", metadata.ACLs, []metadata.Setting{{Object: "x"}}, []metadata.Setting{{Object: "y"}}, []string{"acls: x : there, -: set", "acls: y : -, there: by hand"}, 0},
		{"user", metadata.ScramUsers, []metadata.Setting{set("bob", "SCRAM-SHA-512", "4096")}, nil, []string{"scram-users: bob SCRAM-SHA-512: 4096, -: by hand"}, 0},
		{"feature", metadata.Features, []metadata.Setting{{Object: "metadata.version", Value: "30"}}, []metadata.Setting{{Object: "metadata.version", Value: "21"}},
			[]string{"features: metadata.version : 30, 21: by hand"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &Diff{}
			d.addSettings(string(c.kind), c.backup, c.live, func(s metadata.Setting) (bool, string) { return remedy(c.kind, s, brokers) })
			if got := lines(d.Differences); !slices.Equal(got, c.want) || len(d.Uncompared) != c.uncompared {
				t.Errorf("got\n%s\nwant\n%s; not compared: %+v", strings.Join(got, "\n"), strings.Join(c.want, "\n"), d.Uncompared)
			}
			for _, x := range d.Differences {
				if x.Todo == "" {
					t.Errorf("nothing is said about %+v", x)
				}
			}
			if d.Equal() != (len(c.want) == 0) {
				t.Error("equal:", d.Equal())
			}
		})
	}
}

// A restore of metadata alone needs no topics, does what the plan says, and has nothing to do the second time.
func TestRestoreOfMetadataAlone(t *testing.T) {
	cluster := connect(t, fake(t))
	snap := captured("acls", aclText("a", "b"), "quotas", `[{"entity":{"client-id":null,"user":"a"},"values":{"consumer_byte_rate":2,"producer_byte_rate":1}}]`,
		"group-configs", `{"g":{"consumer.session.timeout.ms":"50000"}}`, "scram-users", `{"carol":{"SCRAM-SHA-256":4096}}`, "features", `{}`)
	own := kafka.ACL{ResourceType: "Group", ResourceName: "g", Pattern: "Literal", Principal: "User:own", Host: "*", Operation: "Read", Permission: "Allow"}
	if _, err := cluster.CreateACLs(t.Context(), []kafka.ACL{own}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"[{acls 2 []} {quotas 2 []} {group-configs 1 []}]", "[{acls 0 []} {quotas 0 []} {group-configs 0 []}]"} {
		plan, err := snap.Plan(t.Context(), cluster, Request{Parts: []string{PartACLs, PartQuotas, PartGroups}}, time.Now())
		if err != nil || len(plan.Refusals) > 0 || len(plan.Topics) > 0 {
			t.Fatalf("%v, %+v", err, plan)
		}
		if text := strings.Join(lines(plan.Metadata), "\n"); !strings.Contains(text, "carol") || !strings.Contains(text, "User:own") {
			t.Errorf("the plan says\n%s", text)
		}
		res, err := (&Runner{Cluster: cluster, Log: quiet}).Run(t.Context(), plan)
		if err != nil || !res.Complete() || fmt.Sprint(res.Metadata) != want {
			t.Errorf("result %+v (%v), want %s", res, err, want)
		}
	}
	acls, err := cluster.ACLs(t.Context())
	if err != nil || len(acls) != 3 || !slices.Contains(acls, own) {
		t.Errorf("acls are %v (%v)", acls, err)
	}
}

// What the cluster refuses is a problem of its own: the rest is done, and the restore is not complete.
func TestRestoreOfMetadataThatIsRefused(t *testing.T) {
	f := fake(t)
	cluster := connect(t, f)
	f.ControlKey(int16(kmsg.CreateACLs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.CreateACLsResponse)
		for range req.(*kmsg.CreateACLsRequest).Creations {
			resp.Results = append(resp.Results, kmsg.CreateACLsResponseResult{ErrorCode: 42, ErrorMessage: kmsg.StringPtr("not today")})
		}
		return resp, nil, true
	})
	snap := captured("acls", aclText("a"), "quotas", `[{"entity":{"user":null},"values":{"producer_byte_rate":1}}]`)
	plan, err := snap.Plan(t.Context(), cluster, Request{Parts: []string{PartACLs, PartQuotas}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&Runner{Cluster: cluster, Log: quiet}).Run(t.Context(), plan)
	if err != nil || res.Complete() || res.Metadata[0].Applied != 0 || len(res.Metadata[0].Problems) != 1 || res.Metadata[1].Applied != 1 {
		t.Fatalf("result %+v (%v)", res, err)
	}
	if problem := res.Metadata[0].Problems[0]; !strings.Contains(problem, "User:a") || !strings.Contains(problem, "not today") {
		t.Errorf("the problem is %q", problem)
	}
}

func TestPlanRefusesMetadata(t *testing.T) {
	request := Request{Parts: []string{PartACLs}}
	plain := connect(t, fake(t))
	for name, snap := range map[string]*Snapshot{
		"not captured": captured("acls", ""), "not known": captured(),
	} {
		plan, err := snap.Plan(t.Context(), plain, request, time.Now())
		if err != nil || len(plan.Refusals) != 1 || !strings.Contains(plan.Refusals[0], "acls cannot be restored: not captured") {
			t.Errorf("%s: %v, refusals %q", name, err, plan.Refusals)
		}
	}
	if _, err := captured("acls", `[{"newer":1}]`).Plan(t.Context(), plain, request, time.Now()); !errors.Is(err, ErrRefused) || !errors.Is(err, metadata.ErrUnknown) {
		t.Errorf("of a later version: %v", err)
	}

	allow := func(op kmsg.ACLOperation) kfake.ACL {
		return kfake.ACL{Resource: kmsg.ACLResourceTypeCluster, Name: "kafka-cluster", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true}
	}
	f := fake(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "root", "root"),
		kfake.User("PLAIN", "blind", "secret"), kfake.User("PLAIN", "reader", "secret", allow(kmsg.ACLOperationDescribe)))
	for user, want := range map[string]string{"blind": "Describe on Cluster", "reader": "Alter on Cluster"} {
		cluster, err := kafka.Connect(t.Context(), kafka.Config{BootstrapServers: f.ListenAddrs(), SASL: &kafka.SASL{
			Mechanism: "PLAIN", Username: user, Password: func() (string, error) { return "secret", nil },
		}}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		plan, err := captured("acls", aclText("a")).Plan(t.Context(), cluster, request, time.Now())
		if err != nil || len(plan.Refusals) != 1 || !strings.Contains(plan.Refusals[0], want) {
			t.Errorf("%s: %v, refusals %q, want %q", user, err, plan.Refusals, want)
		}
	}
}

// A cluster without an authorizer has no ACLs: only where the point has some is that a difference.
func TestDiffWithoutAuthorizer(t *testing.T) {
	f := fake(t)
	cluster := connect(t, f)
	for text, equal := range map[string]bool{aclText(): true, aclText("a"): false} {
		f.ControlKey(int16(kmsg.DescribeACLs), func(req kmsg.Request) (kmsg.Response, error, bool) {
			resp := req.ResponseKind().(*kmsg.DescribeACLsResponse)
			resp.ErrorCode = 54 // SECURITY_DISABLED
			return resp, nil, true
		})
		d, err := captured("acls", text).Diff(t.Context(), cluster, Request{})
		if err != nil || d.Equal() != equal {
			t.Errorf("%s: %+v (%v), want equal %v", text, d, err, equal)
		}
	}
}

func TestDiffOfTopics(t *testing.T) {
	value := func(s string) *string { return &s }
	topic := func(name string, partitions int32, configs ...manifest.Config) manifest.Topic {
		return manifest.Topic{ID: [16]byte([]byte(name + strings.Repeat("-", 16))), Name: name, Partitions: partitions, ReplicationFactor: 1, Configs: configs}
	}
	f := fake(t)
	for name, partitions := range map[string]int32{"same": 2, "more": 3, "extra": 1, "__hidden": 1, "configs": 1, "renamed": 1} {
		configs := map[string]string{}
		if name == "configs" {
			configs = map[string]string{"retention.ms": "2", "segment.ms": "3"}
		}
		if err := f.CreateTopic(name, partitions, configs); err != nil {
			t.Fatal(err)
		}
	}
	snap := captured()
	snap.State.Topics = []manifest.Topic{
		topic("same", 2), topic("more", 2), topic("missing", 1), topic("old", 1),
		topic("configs", 1, manifest.Config{Name: "cleanup.policy", Value: value("compact")}, manifest.Config{Name: "retention.ms", Value: value("1")}),
	}
	d, err := snap.Diff(t.Context(), connect(t, f), Request{Rename: map[string]string{"old": "renamed"}})
	if err != nil {
		t.Fatal(err)
	}
	got := lines(d.Differences)
	slices.Sort(got)
	want := []string{
		"topic-configs: configs cleanup.policy: compact, -: by hand", "topic-configs: configs retention.ms: 1, 2: by hand", "topic-configs: configs segment.ms: -, 3: by hand",
		"topics: extra : -, there: by hand", "topics: missing : there, -: by hand", "topics: more partitions: 2, 3: by hand",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if d, err = snap.Diff(t.Context(), connect(t, f), Request{Topics: []string{"same"}}); err != nil || !d.Equal() {
		t.Errorf("of one topic: %+v (%v)", d, err)
	}
}

// Neither list may let through what lets a backup take over a broker or lock people out.
func TestRestorableConfigs(t *testing.T) {
	for _, list := range [][]string{restorableBroker, restorableOther[metadata.GroupConfigs], restorableOther[metadata.ClientMetrics]} {
		if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("not in order: %v", list)
		}
		for _, name := range list {
			for _, part := range []string{"ssl", "sasl", "listener", "reporter", "class", "password", "connection", "throttled", "thread", "principal", "authorizer"} {
				if strings.Contains(name, part) {
					t.Errorf("%s is on the list", name)
				}
			}
		}
	}
}
