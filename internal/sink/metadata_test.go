package sink

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metadata"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// changedKinds returns, for each entry with a point, the kinds that it changes; a kind that is not captured has a "!".
func changedKinds(t *testing.T, repo *manifest.Repository) (list []string) {
	t.Helper()
	_, err := repo.Read(context.Background(), 0, func(_ *manifest.State, e *manifest.Entry) error {
		if e.Point == nil {
			return nil
		}
		var kinds []string
		for _, m := range e.Metadata {
			if m.Content == nil {
				m.Kind += "!"
			}
			kinds = append(kinds, m.Kind)
		}
		list = append(list, strings.Join(kinds, " "))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

const allKinds = "acls broker-configs client-metrics features group-configs quotas scram-users transactional-ids"

var anACL = kafka.ACL{ResourceType: "Topic", ResourceName: "t", Pattern: "Literal", Principal: "User:a", Host: "*", Operation: "Read", Permission: "Allow"}

// Each kind is captured with the first point, and again only when it has changed.
func TestMetadataIsVersioned(t *testing.T) {
	p := newPlant(t, 2)
	p.create("t", 1)
	for range 2 {
		p.point()
	}
	if _, err := p.Cluster.CreateACLs(t.Context(), []kafka.ACL{anACL}); err != nil {
		t.Fatal(err)
	}
	p.point()
	got := strings.Join(changedKinds(t, p.Repository), ", ")
	if want := allKinds + ", , acls"; got != want {
		t.Errorf("changed are %s, want %s", got, want)
	}
	_, _, state := p.held()
	text := `[{"host":"*","name":"t","operation":"Read","pattern":"Literal","permission":"Allow","principal":"User:a","type":"Topic"}]`
	if m := state.Metadata["acls"]; *m.Content != text || m.Sequence != state.Sequence {
		t.Errorf("acls of entry %d are %s", m.Sequence, *m.Content)
	}
}

// What cannot be read just now stays as it was; what may not be read any more does not.
func TestMetadataThatCannotBeRead(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.point()
	var log bytes.Buffer
	p.Log = slog.New(slog.NewTextHandler(&log, nil))
	answer := func(code int16) {
		p.fake.ControlKey(int16(kmsg.DescribeACLs), func(req kmsg.Request) (kmsg.Response, error, bool) {
			resp := req.ResponseKind().(*kmsg.DescribeACLsResponse)
			resp.ErrorCode = code
			return resp, nil, true
		})
	}
	for _, step := range []struct {
		err  *kerr.Error
		want string
		log  string
	}{
		{kerr.UnknownServerError, "", "level=WARN"},
		{kerr.ClusterAuthorizationFailed, "acls!", "level=INFO"},
		{kerr.ClusterAuthorizationFailed, "", ""}, // said once
		{kerr.SecurityDisabled, "", "SECURITY_DISABLED"},
		{nil, "acls", ""},
	} {
		log.Reset()
		if step.err != nil {
			answer(step.err.Code)
		}
		p.point()
		all := changedKinds(t, p.Repository)
		if got := all[len(all)-1]; got != step.want {
			t.Errorf("%v: changed are %q, want %q", step.err, got, step.want)
		}
		if about := linesAbout(log.String(), "kind=acls"); !strings.Contains(about, step.log) || (about == "") != (step.log == "") {
			t.Errorf("%v: the log says %q, want %q", step.err, about, step.log)
		}
	}
}

func linesAbout(log, what string) string {
	var lines []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, what) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// A user with the rights to capture topics and groups, and no others, captures them.
func TestMetadataWithoutRights(t *testing.T) {
	allow := func(r kmsg.ACLResourceType, op kmsg.ACLOperation) kfake.ACL {
		return kfake.ACL{Resource: r, Name: "*", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true}
	}
	f, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs(), kfake.SeedTopics(1, "t"),
		kfake.Superuser("PLAIN", "root", "root"), kfake.User("PLAIN", "backupd", "secret",
			allow(kmsg.ACLResourceTypeTopic, kmsg.ACLOperationRead), allow(kmsg.ACLResourceTypeTopic, kmsg.ACLOperationDescribeConfigs),
			allow(kmsg.ACLResourceTypeGroup, kmsg.ACLOperationDescribe)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	c, err := kafka.Connect(t.Context(), kafka.Config{BootstrapServers: f.ListenAddrs(), SASL: &kafka.SASL{
		Mechanism: "PLAIN", Username: "backupd", Password: func() (string, error) { return "secret", nil },
	}}, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	repo, err := manifest.OpenOrCreate(t.Context(), mem.New(), c.ID(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := &Sink{Cluster: c, Repository: repo, Config: Defaults(), Log: logger}
	s.Config.Topics, _ = pattern.Parse(nil)
	if _, err := s.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(changedKinds(t, repo), ", ")
	if want := "acls! broker-configs! client-metrics! features group-configs! quotas! scram-users! transactional-ids!"; got != want {
		t.Errorf("changed are %s, want %s", got, want)
	}
	for _, kind := range metadata.Kinds() {
		if about := linesAbout(log.String(), "kind="+string(kind)+" "); strings.Contains(about, kind.Needs()) != (kind != metadata.Features) {
			t.Errorf("the log says of %s: %q", kind, about)
		}
	}
}

// point makes a recovery point of what is there now.
func (p *plant) point() {
	p.t.Helper()
	if _, err := p.Once(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
}

// Metadata is read with the first point of a session, and then as often as configured; transactional ids more seldom.
func TestMetadataIsReadNowAndThen(t *testing.T) {
	p := newPlant(t, 1)
	seen := make(map[int16]int)
	for _, key := range []kmsg.Key{kmsg.DescribeACLs, kmsg.ListTransactions} {
		p.fake.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
			p.fake.KeepControl()
			seen[int16(key)]++
			return nil, nil, false
		})
	}
	k := newKinds(p.newSession(&manifest.State{}, false))
	for _, step := range []struct {
		every     time.Duration
		acls, ids int
	}{{time.Hour, 1, 1}, {time.Hour, 1, 1}, {0, 2, 1}} {
		p.Config.KindsEvery = step.every
		if got := k.read(t.Context()); len(got) != len(metadata.Kinds()) {
			t.Errorf("%d kinds", len(got))
		}
		if acls, ids := seen[int16(kmsg.DescribeACLs)], seen[int16(kmsg.ListTransactions)]; acls != step.acls || ids != step.ids {
			t.Errorf("asked for acls %d times and for transactional ids %d times, want %d and %d", acls, ids, step.acls, step.ids)
		}
	}
}
