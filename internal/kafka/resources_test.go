package kafka_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

func TestACLs(t *testing.T) {
	c := connectFake(t, fake(t, kfake.NumBrokers(1)))
	want := []kafka.ACL{
		{"Cluster", "kafka-cluster", "Literal", "User:a", "*", "DescribeConfigs", "Allow"},
		{"Group", "g", "Prefixed", "User:a", "10.0.0.1", "Read", "Deny"},
		{"Topic", "*", "Literal", "User:*", "*", "All", "Allow"},
		{"TransactionalId", "t", "Literal", "User:b", "*", "Write", "Allow"},
	}
	odd := kafka.ACL{ResourceType: "#99", ResourceName: "x", Pattern: "Literal", Principal: "User:a", Host: "*", Operation: "Read", Permission: "Allow"}
	for range 2 { // the second time they are there
		results, err := c.CreateACLs(t.Context(), append([]kafka.ACL{odd}, want...))
		if err != nil {
			t.Fatal(err)
		}
		if results[0] == nil {
			t.Error("a resource type without a word was created")
		}
		if err := errors.Join(results[1:]...); err != nil || len(results) != 5 {
			t.Errorf("%d results: %v", len(results), err)
		}
	}
	got, err := c.ACLs(t.Context())
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got  %v (%v)\nwant %v", got, err, want)
	}
}

func TestQuotas(t *testing.T) {
	c := connectFake(t, fake(t, kfake.NumBrokers(1)))
	alice := "alice"
	entity := []kafka.QuotaEntity{{Type: "user", Name: &alice}, {Type: "client-id"}}
	for _, values := range []map[string]float64{{"producer_byte_rate": 1e6, "request_percentage": 12.5}, {"producer_byte_rate": 2e6}} {
		results, err := c.SetQuotas(t.Context(), []kafka.Quota{{Entity: entity, Values: values}})
		if err != nil || results[0] != nil {
			t.Fatal(results, err)
		}
	}
	got, err := c.Quotas(t.Context())
	if err != nil || len(got) != 1 || len(got[0].Entity) != 2 {
		t.Fatalf("got %v (%v)", got, err)
	}
	if want := map[string]float64{"producer_byte_rate": 2e6, "request_percentage": 12.5}; !reflect.DeepEqual(got[0].Values, want) {
		t.Errorf("values %v, want %v", got[0].Values, want)
	}
	for _, e := range got[0].Entity {
		if (e.Type == "user") != (e.Name != nil && *e.Name == alice) {
			t.Errorf("entity %s is %v", e.Type, e.Name)
		}
	}
}

func TestResourceConfigs(t *testing.T) {
	c := connectFake(t, fake(t, kfake.NumBrokers(2)))
	for _, r := range []struct { // not brokers: the fake does not tell their settings from those of all brokers
		kind             kafka.ResourceType
		name, key, value string
	}{
		{kafka.GroupResource, "g", "consumer.session.timeout.ms", "46000"},
		{kafka.ClientMetricsResource, "m", "interval.ms", "60000"},
	} {
		t.Run(r.kind.String(), func(t *testing.T) {
			if err := c.AlterConfigs(t.Context(), r.kind, r.name, []kafka.ConfigChange{{Name: r.key, Value: &r.value}}); err != nil {
				t.Fatal(err)
			}
			got, err := c.Configs(t.Context(), r.kind)
			if err != nil || len(got) != 1 || len(got[r.name]) != 1 || got[r.name][0].Name != r.key || *got[r.name][0].Value != r.value {
				t.Errorf("configs %v (%v), want %s of %q only", got, err, r.key, r.name)
			}
		})
	}
}

func TestScramCredentials(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1))
	admin, err := kgo.NewClient(kgo.SeedBrokers(f.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := kadm.NewClient(admin).AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{User: "alice", Mechanism: kadm.ScramSha512, Iterations: 5000, Password: "secret"}}); err != nil {
		t.Fatal(err)
	}
	got, err := connectFake(t, f).ScramCredentials(t.Context())
	if want := []kafka.ScramCredential{{User: "alice", Mechanism: "SCRAM-SHA-512", Iterations: 5000}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
}

func TestFeatures(t *testing.T) {
	got, err := connectFake(t, fake(t, kfake.NumBrokers(1))).Features(t.Context())
	if err != nil || got["metadata.version"] <= 0 {
		t.Errorf("got %v (%v), want a metadata.version", got, err)
	}
}

func TestTransactionalIDs(t *testing.T) {
	f := fake(t, kfake.NumBrokers(2), kfake.SeedTopics(1, "t"))
	for _, id := range []string{"b", "a", "c"} {
		cl, err := kgo.NewClient(kgo.SeedBrokers(f.ListenAddrs()...), kgo.TransactionalID(id), kgo.DefaultProduceTopic("t"))
		if err != nil {
			t.Fatal(err)
		}
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord("v")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		cl.Close()
	}
	got, err := connectFake(t, f).TransactionalIDs(t.Context())
	if want := []string{"a", "b", "c"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
}

// What the brokers do not know in this version is unsupported, and no failure of theirs.
func TestUnsupportedRequests(t *testing.T) {
	old := kversion.Stable()
	old.SetMaxKeyVersion(int16(kmsg.ListConfigResources), 0)
	c := connectFake(t, fake(t, kfake.NumBrokers(1), kfake.MaxVersions(old)))
	if _, err := c.Configs(t.Context(), kafka.GroupResource); !errors.Is(err, kafka.ErrUnsupported) {
		t.Errorf("group configs: %v, want ErrUnsupported", err)
	}
	if _, err := c.Configs(t.Context(), kafka.ClientMetricsResource); err != nil {
		t.Errorf("client metrics: %v", err)
	}
}
