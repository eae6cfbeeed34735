//go:build e2e

package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

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
