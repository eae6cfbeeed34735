package source

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

func TestRetentionOfABroker(t *testing.T) {
	for _, c := range []struct {
		settings map[string]string
		want     brokerDefaults
	}{
		{kafkaDefaults(), brokerDefaults{policy: "delete", ms: 7 * 86_400_000, bytes: -1}},
		{map[string]string{"log.retention.hours": "168", "log.retention.minutes": "3"}, brokerDefaults{policy: "delete", ms: 180_000, bytes: -1}},
		{map[string]string{"log.retention.minutes": "3", "log.retention.ms": "5"}, brokerDefaults{policy: "delete", ms: 5, bytes: -1}},
		{map[string]string{"log.retention.hours": "168", "log.retention.ms": "-1"}, brokerDefaults{policy: "delete", ms: -1, bytes: -1}},
		{map[string]string{"log.cleanup.policy": "compact", "log.retention.bytes": "9"}, brokerDefaults{policy: "compact", ms: -1, bytes: 9}},
	} {
		if got := defaultsOf(c.settings); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.settings, got, c.want)
		}
	}
}

// What a topic does not state is as the target's brokers have it, and that may
// delete what was restored.
func TestPlanKnowsTheDefaultsOfTheTarget(t *testing.T) {
	a := newAuthor(t)
	a.commit(manifest.Entry{
		Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1)}, Streams: []manifest.NewStream{{Parent: -1}}, Point: point(),
	}, written{0, 0, []spec{{last: 3}}})
	plan := func(f *kfake.Cluster) *Plan {
		p, err := Prepare(t.Context(), a.repo, connect(t, f), Request{HoldRetention: time.Hour}, now)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := plan(fake(t, kfake.BrokerConfigs(map[string]string{"log.retention.ms": forever}))); p.Topics[0].Expiring != 0 || p.Topics[0].Held != nil {
		t.Errorf("kept for ever, and %d records expire", p.Topics[0].Expiring)
	}
	if p := plan(fake(t, kfake.BrokerConfigs(map[string]string{"log.retention.ms": "1"}))); p.Topics[0].Expiring != 4 || p.Topics[0].Held == nil {
		t.Errorf("kept for a millisecond, and %d records expire, held %v", p.Topics[0].Expiring, p.Topics[0].Held)
	}
	if p := plan(fake(t, kfake.BrokerConfigs(map[string]string{"log.retention.ms": forever, "log.retention.bytes": "1"}))); !p.Topics[0].oversized || p.Topics[0].Held == nil {
		t.Errorf("one byte is kept, and held is %v", p.Topics[0].Held)
	}
	secretive := fake(t)
	secretive.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.ClusterAuthorizationFailed, Resource: "0", Count: -1})
	p := plan(secretive)
	if p.Topics[0].Expiring != 0 || p.Topics[0].Held == nil || !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.HasPrefix(n, "orders: ") && strings.Contains(n, "is not known") }) {
		t.Errorf("nobody knows, and %d records expire, held %v, notes %q", p.Topics[0].Expiring, p.Topics[0].Held, p.Notes)
	}
}
