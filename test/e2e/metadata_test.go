//go:build e2e

package e2e_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

const exitDifferent = 4

// guarded starts a cluster that has ACLs and users.
func guarded(t *testing.T, version string) *cluster.Cluster {
	return cluster.Start(t, cluster.Options{
		Version: version, Authorizer: true, Listeners: []cluster.Listener{cluster.SASL}, Users: []cluster.User{{Name: "alice", Password: "secret"}},
	})
}

// difference is a line of restored diff -o json.
type difference struct {
	Kind, Object, Setting string
	Backup, Cluster       *string
	Restorable            bool
	Todo                  string
}

type diffResult struct {
	Equal       bool
	Differences []difference
	NotCompared []struct{ Kind, Reason string }
}

// about returns the lines of one kind, as text.
func (d diffResult) about(kind string) (list []string) {
	value := func(s *string) string {
		if s == nil {
			return "-"
		}
		return *s
	}
	for _, x := range d.Differences {
		if x.Kind == kind {
			list = append(list, strings.Join(strings.Fields(fmt.Sprintf("%s %s: %s, %s", x.Object, x.Setting, value(x.Backup), value(x.Cluster))), " "))
		}
	}
	return list
}

// diff compares the newest point with a cluster.
func (r *repository) diff(at *cluster.Cluster, code int) diffResult {
	r.t.Helper()
	d := decodeJSON[diffResult](r.t, r.expect(code, "restored", at, "diff", "-o", "json"))
	if d.Equal != (code == exitOK) {
		r.t.Errorf("exit code %d with equal %v", code, d.Equal)
	}
	return d
}

// request sends one to any broker.
func request[T kmsg.Response](t *testing.T, cl *kgo.Client, req kmsg.Request) T {
	t.Helper()
	resp, err := cl.Request(t.Context(), req)
	if err != nil {
		t.Fatalf("%T: %v", req, err)
	}
	return resp.(T)
}

// Operations that Kafka knows for each type of resource, by its numbers.
var operations = map[int8][]int8{
	2: {2, 3, 4, 5, 6, 7, 8, 10, 11}, 3: {2, 3, 6, 8, 10, 11}, 4: {2, 5, 7, 8, 9, 10, 11, 12}, 5: {2, 4, 8}, 6: {2, 8}, 7: {2, 13, 14},
}

// setACLs makes ACLs of every type of resource, pattern, operation and permission. It returns how many.
func setACLs(t *testing.T, c *cluster.Cluster) int {
	t.Helper()
	cl := c.Client(t)
	req := kmsg.NewPtrCreateACLsRequest()
	for resource, ops := range operations {
		for i, op := range ops {
			for _, pattern := range []int8{3, 4} {
				names := []string{"orders", "*", "ünïcödé and spaces"}
				if resource == 4 {
					names = []string{"kafka-cluster"}
				}
				if pattern == 4 {
					names = []string{"ord"}
				}
				if resource == 4 && pattern == 4 {
					continue
				}
				for _, name := range names {
					a := kmsg.NewCreateACLsRequestCreation()
					a.ResourceType, a.ResourceName, a.ResourcePatternType = kmsg.ACLResourceType(resource), name, kmsg.ACLResourcePatternType(pattern)
					a.Principal, a.Host = []string{"User:alice", "User:*", "User:CN=x,O=y"}[i%3], []string{"*", "10.0.0.1"}[i%2]
					a.Operation, a.PermissionType = kmsg.ACLOperation(op), kmsg.ACLPermissionType(2+(i+int(pattern))%2)
					req.Creations = append(req.Creations, a)
				}
			}
		}
	}
	for i, r := range request[*kmsg.CreateACLsResponse](t, cl, req).Results {
		if r.ErrorCode != 0 {
			t.Fatalf("create %+v: %d %v", req.Creations[i], r.ErrorCode, r.ErrorMessage)
		}
	}
	return len(req.Creations)
}

// acls are those of a cluster, asked for without a line of our own code.
func acls(t *testing.T, c *cluster.Cluster) (list []string) {
	t.Helper()
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType = 1, 1, 1, 1
	for _, r := range request[*kmsg.DescribeACLsResponse](t, c.Client(t), req).Resources {
		for _, a := range r.ACLs {
			list = append(list, fmt.Sprint(r.ResourceType, r.ResourceName, r.ResourcePatternType, a.Principal, a.Host, a.Operation, a.PermissionType))
		}
	}
	slices.Sort(list)
	return list
}

// ACLs of every kind come back when they are asked for, a second restore changes nothing, and diff knows.
func TestACLsComeBack(t *testing.T) {
	t.Parallel()
	source, target := guarded(t, cluster.Kafka43), guarded(t, cluster.Kafka43)
	createTopic(t, source, "orders", 1, configs{"retention.ms": "-1"})
	newRawProducer(t, source, "orders").send(0, batch.LZ4, numbered("order", 10)...)
	n := setACLs(t, source)
	eventually(t, "the source's acls", func() bool { return len(acls(t, source)) == n })
	r := newRepository(t)
	r.backup(source)
	r.diff(source, exitOK)

	before := r.diff(target, exitDifferent)
	if got := before.about("acls"); len(got) != n {
		t.Errorf("%d differences in %d acls: %v", len(got), n, got)
	}
	r.restore(target)
	if got := acls(t, target); len(got) != 0 {
		t.Errorf("acls came back without being asked for: %v", got)
	}
	if o := r.run("restored", target, "plan", "--metadata", "acls"); strings.Count(o.stdout, "restored run --metadata acls") != n {
		t.Errorf("the plan does not list the acls:\n%s", o.stdout)
	}
	for _, want := range []int{n, 0} {
		result := r.restore(target, "--metadata", "acls")
		if len(result.Metadata) != 1 || result.Metadata[0].Applied != want || len(result.Metadata[0].Problems) > 0 {
			t.Errorf("restored %+v, want %d acls", result.Metadata, want)
		}
		if !slices.Equal(acls(t, source), acls(t, target)) {
			t.Errorf("source has %v\ntarget %v", acls(t, source), acls(t, target))
		}
	}
	r.diff(target, exitOK)
}

// setQuotas sets some for every kind of entity: users, client ids, both, addresses, and the defaults of each.
func setQuotas(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	alice, app, address := "alice", "app <default>", "10.0.0.1"
	rates := map[string]float64{"producer_byte_rate": 1048576, "consumer_byte_rate": 3e9, "request_percentage": 12.5, "controller_mutation_rate": 0.25}
	connections := map[string]float64{"connection_creation_rate": 17}
	req := kmsg.NewPtrAlterClientQuotasRequest()
	for _, q := range []struct {
		entity map[string]*string
		values map[string]float64
	}{
		{map[string]*string{"user": &alice}, rates}, {map[string]*string{"user": nil}, rates},
		{map[string]*string{"client-id": &app}, rates}, {map[string]*string{"client-id": nil}, rates},
		{map[string]*string{"user": &alice, "client-id": &app}, rates}, {map[string]*string{"user": &alice, "client-id": nil}, rates},
		{map[string]*string{"user": nil, "client-id": &app}, rates}, {map[string]*string{"user": nil, "client-id": nil}, rates},
		{map[string]*string{"ip": &address}, connections}, {map[string]*string{"ip": nil}, connections},
	} {
		entry := kmsg.NewAlterClientQuotasRequestEntry()
		for kind, name := range q.entity {
			entry.Entity = append(entry.Entity, kmsg.AlterClientQuotasRequestEntryEntity{Type: kind, Name: name})
		}
		for key, value := range q.values {
			entry.Ops = append(entry.Ops, kmsg.AlterClientQuotasRequestEntryOp{Key: key, Value: value})
		}
		req.Entries = append(req.Entries, entry)
	}
	for _, e := range request[*kmsg.AlterClientQuotasResponse](t, c.Client(t), req).Entries {
		if e.ErrorCode != 0 {
			t.Fatalf("quota of %v: %d %v", e.Entity, e.ErrorCode, *e.ErrorMessage)
		}
	}
}

func quotas(t *testing.T, c *cluster.Cluster) (list []string) {
	t.Helper()
	for _, e := range request[*kmsg.DescribeClientQuotasResponse](t, c.Client(t), kmsg.NewPtrDescribeClientQuotasRequest()).Entries {
		var entity []string
		for _, part := range e.Entity {
			name := "default"
			if part.Name != nil {
				name = fmt.Sprintf("%q", *part.Name)
			}
			entity = append(entity, part.Type+"="+name)
		}
		slices.Sort(entity)
		for _, v := range e.Values {
			list = append(list, fmt.Sprint(entity, v.Key, v.Value))
		}
	}
	slices.Sort(list)
	return list
}

// Types of resources with configs, by Kafka's numbers.
const (
	ofBrokers       = 4
	ofClientMetrics = 16
	ofGroups        = 32
)

func setConfigs(t *testing.T, c *cluster.Cluster, kind int8, name string, cfg configs) {
	t.Helper()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(kind), name
	for k, v := range cfg {
		r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: k, Value: &v})
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, r)
	for _, r := range request[*kmsg.IncrementalAlterConfigsResponse](t, c.Client(t), req).Resources {
		if r.ErrorCode != 0 {
			t.Fatalf("set %v on %q: %d %s", cfg, name, r.ErrorCode, *r.ErrorMessage)
		}
	}
}

// dynamicConfigs are what is set on a resource itself.
func dynamicConfigs(t *testing.T, c *cluster.Cluster, kind int8, name string) configs {
	t.Helper()
	own := "DYNAMIC_BROKER_CONFIG"
	switch {
	case kind == ofBrokers && name == "":
		own = "DYNAMIC_DEFAULT_BROKER_CONFIG"
	case kind == ofClientMetrics:
		own = "CLIENT_METRICS_CONFIG"
	case kind == ofGroups:
		own = "GROUP_CONFIG"
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceType(kind), ResourceName: name}}
	cfg := make(configs)
	for _, r := range request[*kmsg.DescribeConfigsResponse](t, c.Client(t), req).Resources {
		for _, e := range r.Configs {
			if e.Source.String() == own {
				cfg[e.Name] = "(null)"
				if e.Value != nil {
					cfg[e.Name] = *e.Value
				}
			}
		}
	}
	return cfg
}

// Quotas and configs of brokers, groups and client metrics come back, a second restore changes nothing, and what must not be taken from a
// backup, or cannot be restored, is said and left alone.
func TestMetadataComesBack(t *testing.T) {
	t.Parallel()
	source, target := guarded(t, cluster.Kafka43), guarded(t, cluster.Kafka43)
	createTopic(t, source, "orders", 1, nil)
	setQuotas(t, source)
	allBrokers := configs{"log.retention.ms": "7200000", "message.max.bytes": "2000000", "log.cleanup.policy": "compact,delete"}
	setConfigs(t, source, ofBrokers, "", allBrokers)
	setConfigs(t, source, ofBrokers, "0", configs{"log.retention.bytes": "123456789"})
	setConfigs(t, source, ofGroups, "billing", configs{"consumer.session.timeout.ms": "50000", "share.isolation.level": "read_committed"})
	setConfigs(t, source, ofClientMetrics, "all clients", configs{"interval.ms": "60000", "metrics": "org.apache.kafka.producer."})
	r := newRepository(t)
	eventually(t, "the source's metadata", func() bool {
		return len(quotas(t, source)) == 34 && len(dynamicConfigs(t, source, ofBrokers, "0")) == 1
	})
	r.backup(source)
	r.diff(source, exitOK)

	const parts = "acls,quotas,brokers,groups,client-metrics"
	for _, applied := range [][]int{{0, 34, 4, 2, 2}, {0, 0, 0, 0, 0}} {
		result := r.restore(target, "--metadata", "topics,configs,"+parts)
		for i, m := range result.Metadata {
			if m.Applied != applied[i] || len(m.Problems) > 0 {
				t.Errorf("%s: %d applied, want %d; problems %v", m.Kind, m.Applied, applied[i], m.Problems)
			}
		}
		if !slices.Equal(quotas(t, source), quotas(t, target)) {
			t.Errorf("quotas are %v\nwant %v", quotas(t, target), quotas(t, source))
		}
		for _, at := range []struct {
			kind int8
			name string
		}{{ofBrokers, ""}, {ofBrokers, "0"}, {ofGroups, "billing"}, {ofClientMetrics, "all clients"}} {
			if want, got := dynamicConfigs(t, source, at.kind, at.name), dynamicConfigs(t, target, at.kind, at.name); !maps.Equal(want, got) {
				t.Errorf("%q has %v, want %v", at.name, got, want)
			}
		}
	}
	r.diff(target, exitOK)

	// From here on the source has what does not come back.
	setConfigs(t, source, ofBrokers, "", configs{"num.io.threads": "9", "log.retention.ms": "3600000"})
	setConfigs(t, source, ofBrokers, "0", configs{"listener.name.sasl.plain.sasl.jaas.config": `org.apache.kafka.common.security.plain.PlainLoginModule required user_bob="x";`})
	addUser(t, source, "bob", 5000)
	setConfigs(t, target, ofGroups, "own", configs{"consumer.session.timeout.ms": "51000"})
	r.backup(source)
	plan := r.run("restored", target, "plan", "--metadata", parts).stdout
	for _, want := range []string{"num.io.threads", "not on the list", "jaas.config", "sensitive", "bob", "new password", "SCRAM-SHA-512", "every topic of the cluster that has none of its own"} {
		if !strings.Contains(plan, want) {
			t.Errorf("the plan does not say %q:\n%s", want, plan)
		}
	}
	r.restore(target, "--metadata", parts)
	got := r.diff(target, exitDifferent)
	for kind, want := range map[string][]string{
		"broker-configs": {"all brokers num.io.threads: 9, -", "broker 0 listener.name.sasl.plain.sasl.jaas.config: (sensitive), -"},
		"group-configs":  {"own consumer.session.timeout.ms: -, 51000"},
		"scram-users":    {"bob SCRAM-SHA-512: 5000, -"},
	} {
		if !slices.Equal(got.about(kind), want) {
			t.Errorf("differences in %s are %q, want %q", kind, got.about(kind), want)
		}
	}
	if len(got.Differences) != 4 {
		t.Errorf("%d differences, want 4: %+v", len(got.Differences), got)
	}
	if cfg := dynamicConfigs(t, target, ofBrokers, ""); cfg["log.retention.ms"] != "3600000" || cfg["num.io.threads"] != "" {
		t.Errorf("the brokers have %v", cfg)
	}
}

// addUser gives a user a password, or another one.
func addUser(t *testing.T, c *cluster.Cluster, name string, iterations int32) {
	t.Helper()
	a := admin(t, c)
	defer a.Close()
	results, err := a.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{User: name, Mechanism: kadm.ScramSha512, Iterations: iterations, Password: "secret"}})
	if err == nil {
		err = results.Error()
	}
	if err != nil {
		t.Fatalf("add user %s: %v", name, err)
	}
}

// Kafka 3.9 cannot list groups with configs: that is said, asking for them is refused, and the rest goes to a newer cluster.
func TestMetadataOfOlderCluster(t *testing.T) {
	t.Parallel()
	source, target := guarded(t, cluster.Kafka39), guarded(t, cluster.Kafka43)
	createTopic(t, source, "orders", 1, nil)
	setQuotas(t, source)
	n := setACLs(t, source)
	setConfigs(t, source, ofClientMetrics, "all clients", configs{"interval.ms": "60000"})
	eventually(t, "the source's metadata", func() bool { return len(quotas(t, source)) == 34 && len(acls(t, source)) == n })
	r := newRepository(t)
	if o := r.backup(source); strings.Count(o.stderr, "not captured") != 1 || !strings.Contains(o.stderr, "group-configs") {
		t.Errorf("the log does not say what is not captured:\n%s", o.stderr)
	}
	if o := r.run("backupd", nil, "status"); strings.Count(o.stdout, "not captured") != 1 || !strings.Contains(o.stdout, "group-configs") {
		t.Errorf("the status does not say what is not captured:\n%s", o.stdout)
	}
	type content struct {
		Metadata []struct {
			Kind     string
			Captured bool
			Objects  int
		}
	}
	objects := make(map[string]int)
	for _, m := range decodeJSON[content](t, r.run("restored", nil, "show", "-o", "json")).Metadata {
		if objects[m.Kind] = m.Objects; m.Captured == (m.Kind == "group-configs") {
			t.Errorf("captured: %+v", m)
		}
	}
	if objects["acls"] != n || objects["quotas"] != 10 || objects["client-metrics"] != 1 || objects["scram-users"] != 1 {
		t.Errorf("show counts %v", objects)
	}
	if o := r.expect(exitRefused, "restored", target, "run", "--yes", "--metadata", "groups"); !strings.Contains(o.stderr, "not captured at this point") {
		t.Errorf("what is not captured is refused with %s", o.stderr)
	}
	r.restore(target, "--metadata", "topics,configs,acls,quotas,client-metrics")
	if !slices.Equal(quotas(t, source), quotas(t, target)) || !slices.Equal(acls(t, source), acls(t, target)) {
		t.Errorf("quotas are %v, acls %v", quotas(t, target), acls(t, target))
	}
	got := r.diff(target, exitDifferent)
	for _, d := range got.Differences { // nothing but what the version brings
		if d.Kind != "features" && d.Object != "all brokers" || d.Restorable {
			t.Errorf("difference %+v", d)
		}
	}
	if features := strings.Join(got.about("features"), "\n"); !strings.Contains(features, "metadata.version") {
		t.Errorf("differences in features: %s", features)
	}
	if len(got.NotCompared) != 1 || got.NotCompared[0].Kind != "group-configs" {
		t.Errorf("not compared: %+v", got.NotCompared)
	}
}

// The settings of single brokers come from each of them, stay as they were while one is down, and go to the brokers of the same ids.
func TestMetadataOfThreeBrokers(t *testing.T) {
	t.Parallel()
	source := cluster.Start(t, cluster.Options{Brokers: 3, Authorizer: true})
	createTopic(t, source, "orders", 3, nil)
	n := setACLs(t, source)
	setQuotas(t, source)
	setConfigs(t, source, ofBrokers, "", configs{"log.retention.ms": "7200000"})
	for id := range 3 {
		setConfigs(t, source, ofBrokers, fmt.Sprint(id), configs{"log.retention.bytes": fmt.Sprint(100000000 + id)})
	}
	eventually(t, "the source's metadata", func() bool { return len(acls(t, source)) == n && len(quotas(t, source)) == 34 })
	r := newRepository(t)
	eventually(t, "a backup with the settings of all brokers", func() bool {
		r.backup(source)
		return strings.Count(r.run("restored", nil, "show", "-o", "json").stdout, `"log.retention.bytes"`) == 3
	})
	r.diff(source, exitOK)
	if err := source.Kill(2); err != nil {
		t.Fatal(err)
	}
	changes := func() int {
		return strings.Count(r.run("backupd", nil, "events", "-o", "json").stdout, "broker-configs")
	}
	before := changes()
	eventually(t, "a cluster of two brokers", func() bool { return len(dynamicConfigs(t, source, ofBrokers, "0")) == 1 && brokers(t, source) == 2 })
	r.backup(source)
	if after := changes(); after != before || before == 0 {
		t.Errorf("%d changes of the brokers' configs, %d before one of them was killed", after, before)
	}
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}

	target := cluster.Start(t, cluster.Options{Brokers: 3, Authorizer: true})
	for _, want := range []int{n + 34 + 4, 0} {
		applied := 0
		for _, m := range r.restore(target, "--metadata", "topics,configs,acls,quotas,brokers").Metadata {
			if applied += m.Applied; len(m.Problems) > 0 {
				t.Errorf("%s: %v", m.Kind, m.Problems)
			}
		}
		if applied != want {
			t.Errorf("%d settings applied, want %d", applied, want)
		}
	}
	for id := range 3 {
		if got := dynamicConfigs(t, target, ofBrokers, fmt.Sprint(id)); !maps.Equal(got, configs{"log.retention.bytes": fmt.Sprint(100000000 + id)}) {
			t.Errorf("broker %d has %v", id, got)
		}
	}
	r.diff(target, exitOK)
}

// brokers counts those that are up.
func brokers(t *testing.T, c *cluster.Cluster) int {
	t.Helper()
	a := admin(t, c)
	defer a.Close()
	meta, err := a.BrokerMetadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return len(meta.Brokers)
}
