package metadata_test

import (
	"errors"
	"log/slog"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/metadata"
)

func ptr(s string) *string { return &s }

// contents are the examples of docs/format.md, and what they list.
var contents = []struct {
	kind     metadata.Kind
	text     string
	settings []metadata.Setting
}{
	{metadata.ACLs, `[{"host":"*","name":"orders","operation":"Read","pattern":"Literal","permission":"Allow","principal":"User:<älice>","type":"Topic"}]`,
		[]metadata.Setting{{Object: "Allow User:<älice> Read on Literal:Topic:orders from *"}}},
	{metadata.ACLs, `[]`, []metadata.Setting{}},
	{metadata.BrokerConfigs, `{"":{"log.retention.ms":"1000"},"1":{"ssl.keystore.password":null}}`,
		[]metadata.Setting{{Name: "log.retention.ms", Value: "1000"}, {Object: "1", Name: "ssl.keystore.password", Secret: true}}},
	{metadata.ClientMetrics, `{"subscription":{"interval.ms":"60000"}}`, []metadata.Setting{{Object: "subscription", Name: "interval.ms", Value: "60000"}}},
	{metadata.Features, `{"metadata.version":27}`, []metadata.Setting{{Object: "metadata.version", Value: "27"}}},
	{metadata.GroupConfigs, `{"billing":{"consumer.session.timeout.ms":"45000"}}`,
		[]metadata.Setting{{Object: "billing", Name: "consumer.session.timeout.ms", Value: "45000"}}},
	{metadata.Quotas, `[{"entity":{"client-id":null,"user":"alice"},"values":{"producer_byte_rate":1048576,"request_percentage":12.5}}]`,
		[]metadata.Setting{
			{Object: `user="alice" client-id=<default>`, Name: "producer_byte_rate", Value: "1048576"},
			{Object: `user="alice" client-id=<default>`, Name: "request_percentage", Value: "12.5"},
		}},
	{metadata.ScramUsers, `{"alice":{"SCRAM-SHA-512":4096}}`, []metadata.Setting{{Object: "alice", Name: "SCRAM-SHA-512", Value: "4096"}}},
	{metadata.TransactionalIDs, `{"capped":false,"ids":["a","b"]}`, nil},
}

func TestCanonicalForm(t *testing.T) {
	for _, c := range contents {
		content, err := metadata.Decode(c.kind, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.kind, err)
			continue
		}
		if again, err := metadata.Encode(content); err != nil || again != c.text {
			t.Errorf("%s became\n%s (%v)", c.text, again, err)
		}
		if got := content.Settings(); !reflect.DeepEqual(got, c.settings) {
			t.Errorf("%s lists %+v, want %+v", c.text, got, c.settings)
		}
	}
}

// What is not canonical, or says more than this version understands, is refused: applying a part of it could be wrong.
func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		kind metadata.Kind
		text string
	}{
		{"quorum", `{}`}, {metadata.ACLs, ``}, {metadata.ACLs, `{}`}, {metadata.ACLs, `[] `}, {metadata.ACLs, `[][]`},
		{metadata.ACLs, `[{"host":"*","name":"orders","operation":"Read","pattern":"Literal","permission":"Allow","principal":"User:a","type":"Topic","unless":"x"}]`},
		{metadata.BrokerConfigs, `{"1":{"b":"1","a":"2"}}`}, {metadata.Features, `{"a":1e0}`}, {metadata.Features, `{"a":70000}`},
		{metadata.Quotas, `[{"entity":{"user":"a"},"values":{"x":"1"}}]`},
	} {
		if got, err := metadata.Decode(c.kind, c.text); !errors.Is(err, metadata.ErrUnknown) {
			t.Errorf("%s %s is taken for %v (%v)", c.kind, c.text, got, err)
		}
	}
}

func TestQuotaEntities(t *testing.T) {
	for want, entity := range map[string]map[string]*string{
		`user=<default>`:                     {"user": nil},
		`user="a b" client-id="c"`:           {"user": ptr("a b"), "client-id": ptr("c")},
		`user=<default> client-id=<default>`: {"user": nil, "client-id": nil},
		`ip="10.0.0.1"`:                      {"ip": ptr("10.0.0.1")},
		`ip="<default>"`:                     {"ip": ptr("<default>")},
	} {
		if got := (metadata.Quota{Entity: entity}).Object(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// Settings of a broker that is down stay as they were last read; those of one that is up are as they are now.
func TestCaptureKeepsBrokersThatAreDown(t *testing.T) {
	f, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := kafka.Connect(t.Context(), kafka.Config{BootstrapServers: f.ListenAddrs()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := `{"":{"log.retention.ms":"1"},"0":{"log.retention.ms":"2"},"7":{"log.retention.ms":"3"}}`
	got, err := metadata.Capture(t.Context(), c, metadata.BrokerConfigs, &before)
	if want := `{"7":{"log.retention.ms":"3"}}`; err != nil || got != want {
		t.Errorf("captured %s (%v), want %s", got, err, want)
	}
}
