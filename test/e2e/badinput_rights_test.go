//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// right is one operation on what a name, a prefix ("x-*") or "*" stands for.
type right struct {
	kind, name string // topic, group or cluster
	op         kadm.ACLOperation
}

func (r right) acl(user string) *kadm.ACLBuilder {
	name, pattern := r.name, kadm.ACLPatternLiteral
	if prefix, ok := strings.CutSuffix(name, "-*"); ok {
		name, pattern = prefix+"-", kadm.ACLPatternPrefixed
	}
	b := kadm.NewACLs().Allow("User:" + user).AllowHosts().Operations(r.op).ResourcePatternType(pattern)
	switch r.kind {
	case "topic":
		return b.Topics(name)
	case "group":
		return b.Groups(name)
	}
	return b.Clusters()
}

// secured is a cluster with an authorizer whose users have just the rights that the test gives them.
type secured struct {
	*cluster.Cluster
	admin    *kadm.Client
	password string // the file
	granted  int
}

func startSecured(t *testing.T, users map[string][]right) *secured {
	t.Helper()
	o := cluster.Options{Authorizer: true, Listeners: []cluster.Listener{cluster.SASL}}
	for name := range users {
		o.Users = append(o.Users, cluster.User{Name: name, Password: secret})
	}
	c := cluster.Start(t, o)
	s := &secured{Cluster: c, admin: admin(t, c), password: writeFile(t, "password", secret+"\n")}
	for name, rights := range users {
		for _, r := range rights {
			created, err := s.admin.CreateACLs(t.Context(), r.acl(name))
			must(t, err)
			for _, c := range created {
				must(t, c.Err)
				s.granted++
			}
		}
	}
	s.settle(t)
	return s
}

// settle waits until the broker knows as many ACLs as were granted.
func (s *secured) settle(t *testing.T) {
	t.Helper()
	eventually(t, "ACLs in force", func() bool {
		all := kadm.NewACLs().AnyResource().ResourcePatternType(kadm.ACLPatternAny).Operations().Allow().AllowHosts().Deny().DenyHosts()
		described, err := s.admin.DescribeACLs(t.Context(), all)
		must(t, err)
		n := 0
		for _, d := range described {
			n += len(d.Described)
		}
		return n == s.granted
	})
}

// revoke takes a right away.
func (s *secured) revoke(t *testing.T, user string, r right) {
	t.Helper()
	deleted, err := s.admin.DeleteACLs(t.Context(), r.acl(user))
	must(t, err)
	for _, d := range deleted {
		must(t, d.Err)
		s.granted -= len(d.Deleted)
	}
	s.settle(t)
}

// as returns the flags that log a user in.
func (s *secured) as(user string) []string {
	return []string{
		"--bootstrap-server", s.Addrs(cluster.SASL)[0], "-X", "kafka.sasl.mechanism=SCRAM-SHA-512",
		"-X", "kafka.sasl.username=" + user, "-X", "kafka.sasl.passwordFile=" + s.password,
	}
}

// fill creates topics of one partition with records in them.
func fill(t *testing.T, c *cluster.Cluster, records int, topics ...string) {
	t.Helper()
	p := producer(t, c)
	defer p.Close()
	for _, topic := range topics {
		createTopic(t, c, topic, 1, nil)
		for i := range records {
			produce(t, p, &kgo.Record{Topic: topic, Value: fmt.Append(nil, topic, i)})
		}
	}
}

func TestCaptureWithoutRights(t *testing.T) {
	t.Parallel()
	s := startSecured(t, map[string][]right{
		"nobody":    nil,
		"orders":    {{"topic", "orders", kadm.OpRead}, {"topic", "orders", kadm.OpDescribeConfigs}, {"group", "*", kadm.OpDescribe}},
		"noread":    {{"topic", "*", kadm.OpDescribe}, {"topic", "*", kadm.OpDescribeConfigs}, {"topic", "open", kadm.OpRead}, {"group", "*", kadm.OpDescribe}},
		"noconfigs": {{"topic", "*", kadm.OpRead}, {"group", "*", kadm.OpDescribe}},
		"nogroups":  {{"topic", "*", kadm.OpRead}, {"topic", "*", kadm.OpDescribeConfigs}},
		"somegroup": {{"topic", "*", kadm.OpRead}, {"topic", "*", kadm.OpDescribeConfigs}, {"group", "a-*", kadm.OpDescribe}},
	})
	fill(t, s.Cluster, 3, "orders", "payments", "open")
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: "orders", At: 1})
	must(t, s.admin.CommitAllOffsets(t.Context(), "a-reader", offsets))

	for _, test := range []struct {
		name, user string
		args       []string
		words      []string
	}{
		{"hidden, by name", "orders", []string{"--topics", "orders,payments"}, []string{`Describe on Topic "payments"`, "exclude"}},
		{"absent, by name", "orders", []string{"--topics", "orders,nothere"}, []string{`Topic "nothere"`}},
		{"matched, not readable", "noread", nil, []string{`Read on Topic "orders"`, `Read on Topic "payments"`}},
		{"configs", "noconfigs", []string{"--topics", "orders,payments"}, []string{`DescribeConfigs on Topic "orders"`, `DescribeConfigs on Topic "payments"`}},
		{"all groups", "nogroups", nil, []string{`consumer groups`, `Describe on Group "*"`}},
		{"some groups", "somegroup", nil, []string{`consumer groups`, `Describe on Group "*"`}},
		{"anything", "nobody", nil, []string{"not authorized"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRepository(t)
			for _, command := range []string{"once", "run"} {
				args := append([]string{command, "--log-level", "debug"}, append(s.as(test.user), test.args...)...)
				o := r.try("backupd", nil, args...)
				wantError(t, o, exitRefused, test.words...)
				if strings.Contains(theMessage(t, o), `"open"`) {
					t.Errorf("a topic that may be read is named:\n%s", o.stderr)
				}
				r.wantNothing(t)
			}
			wantJSONError(t, r.try("backupd", nil, append([]string{"once", "-o", "json"}, append(s.as(test.user), test.args...)...)...), exitRefused, "not authorized")
		})
	}
	t.Run("absent, with all rights", func(t *testing.T) {
		r := newRepository(t)
		wantError(t, r.try("backupd", s.Cluster, "once", "--topics", "orders,nothere"), exitRefused, "nothere", "no such topic")
		r.wantNothing(t)
	})
	t.Run("internal, by name", func(t *testing.T) {
		r := newRepository(t)
		wantError(t, r.try("backupd", s.Cluster, "once", "--topics", "__consumer_offsets"), exitRefused, "__consumer_offsets", "internal")
		r.wantNothing(t)
	})
	t.Run("a pattern matches nothing", func(t *testing.T) {
		r := newRepository(t)
		wantError(t, r.try("backupd", s.Cluster, "once", "--topics", "nothere-*"), exitRefused, "no topic of the cluster is selected")
		r.wantNothing(t)
	})
}

// A right that is lost while backupd runs ends it. What was committed stays, and is whole.
func TestRightsRevokedWhileRunning(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]struct {
		right right
		words []string
	}{
		"read":              {right{"topic", "payments", kadm.OpRead}, []string{`Read on Topic "payments"`}},
		"configs":           {right{"topic", "*", kadm.OpDescribeConfigs}, []string{`DescribeConfigs on Topic "orders"`, `DescribeConfigs on Topic "payments"`}},
		"describe and read": {right{"topic", "hidden", kadm.OpRead}, []string{`on Topic "hidden"`}},
		"groups":            {right{"group", "*", kadm.OpDescribe}, []string{`Describe on Group "*"`}},
	} {
		t.Run(name, func(t *testing.T) {
			s := startSecured(t, map[string][]right{"backup": {
				{"topic", "orders", kadm.OpRead}, {"topic", "payments", kadm.OpRead}, {"topic", "payments", kadm.OpDescribe}, {"topic", "hidden", kadm.OpRead},
				{"topic", "*", kadm.OpDescribeConfigs}, {"group", "*", kadm.OpDescribe},
			}})
			topics := []string{"orders", "payments", "hidden"}
			if name != "describe and read" {
				topics = topics[:2]
			}
			fill(t, s.Cluster, 5, topics...)
			r := newRepository(t)
			p := r.start("backupd", nil, append([]string{"run", "-X", "points.every=1s", "-X", "segment.maxAge=1s"}, s.as("backup")...)...)
			eventually(t, "everything committed", func() bool { return r.committed(t) == int64(5*len(topics)) })
			s.revoke(t, "backup", lost.right)
			o := p.wait(t)
			wantError(t, o, exitRefused, lost.words...)
			if got := r.committed(t); got != int64(5*len(topics)) {
				t.Errorf("%d records are committed, want %d", got, 5*len(topics))
			}
			for _, topic := range r.status(t).Topics {
				if topic.Gone {
					t.Errorf("%s is recorded as gone", topic.Topic)
				}
			}
			r.run("restored", nil, "verify")
		})
	}
}

func (r *repository) status(t *testing.T) repositoryStatus {
	t.Helper()
	return decodeJSON[repositoryStatus](t, r.run("backupd", nil, "status", "-o", "json"))
}

// committed returns how many records the log has; none if there is no repository yet.
func (r *repository) committed(t *testing.T) (n int64) {
	t.Helper()
	o := r.try("backupd", nil, "status", "-o", "json")
	if o.code == exitNoRepository {
		return 0
	}
	if o.code != exitOK {
		t.Fatalf("status ended with %d\n%s", o.code, o.stderr)
	}
	for _, topic := range decodeJSON[repositoryStatus](t, o).Topics {
		n += topic.Records
	}
	return n
}
