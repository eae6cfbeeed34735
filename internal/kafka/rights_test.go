package kafka_test

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

func allow(resource kmsg.ACLResourceType, name string, op kmsg.ACLOperation) kfake.ACL {
	return kfake.ACL{Resource: resource, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true}
}

// A user who may read one topic and one group, and nothing else.
func TestMissingRightsAreNamed(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs(), kfake.SeedTopics(1, "open", "described", "closed"),
		kfake.Superuser("PLAIN", "root", "root"),
		kfake.User("PLAIN", "alice", "secret",
			allow(kmsg.ACLResourceTypeTopic, "open", kmsg.ACLOperationRead),
			allow(kmsg.ACLResourceTypeTopic, "described", kmsg.ACLOperationDescribe),
			allow(kmsg.ACLResourceTypeGroup, "mine", kmsg.ACLOperationRead)))
	root := connect(t, config(f, nil, login("PLAIN", "root", "root")))
	testMissingRights(t, root, connect(t, config(f, nil, login("PLAIN", "alice", "secret"))))
}

// onCluster is the lack of a right on the cluster.
func onCluster(operation string) kafka.AuthorizationError {
	return kafka.AuthorizationError{Operation: operation, ResourceType: "Cluster", Resource: "kafka-cluster"}
}

// testMissingRights expects alice to have Read on the topic open and the group
// mine, Describe on the topic described, and a topic closed.
func testMissingRights(t *testing.T, root, alice *kafka.Cluster) {
	described, open := topicOf(t, root, "described"), topicOf(t, alice, "open")
	raw := build(t, batch.None, anonymous, "v")
	commit := func(group, topic string) error {
		return alice.CommitOffsets(t.Context(), group, []kafka.GroupOffset{{Topic: topic, Offset: 1}})
	}
	if err := commit("mine", "open"); err != nil {
		t.Fatalf("what is allowed: %v", err)
	}
	fetcher, producer := newFetcher(t, alice), newProducer(t, alice)
	if got := fetchOne(t, fetcher, 0, fetchFrom(open, 0)); got.Err != nil {
		t.Fatalf("what is allowed: %v", got.Err)
	}

	tests := []struct {
		name string
		err  func() error
		want kafka.AuthorizationError
	}{
		{"metadata", func() error {
			topics, err := alice.Topics(t.Context(), []string{"closed"})
			if err != nil {
				t.Fatal(err)
			}
			return topics[0].Err
		}, kafka.AuthorizationError{Operation: "Describe", ResourceType: "Topic", Resource: "closed"}},
		{"fetch", func() error { return fetchOne(t, fetcher, 0, fetchFrom(described, 0)).Err }, kafka.AuthorizationError{Operation: "Read", ResourceType: "Topic", Resource: "described"}},
		{"produce", func() error { return produceTo(t, producer, open, raw).Err }, kafka.AuthorizationError{Operation: "Write", ResourceType: "Topic", Resource: "open"}},
		{"producer id", func() error {
			_, _, err := producer.InitProducerID(t.Context())
			return err
		}, kafka.AuthorizationError{Operation: "IdempotentWrite", ResourceType: "Cluster", Resource: "kafka-cluster"}},
		{"configs", func() error {
			_, err := alice.TopicConfigs(t.Context(), []string{"open"})
			return err
		}, kafka.AuthorizationError{Operation: "DescribeConfigs", ResourceType: "Topic", Resource: "open"}},
		{"alter configs", func() error {
			return alice.AlterTopicConfigs(t.Context(), "open", []kafka.ConfigChange{{Name: "retention.ms"}})
		}, kafka.AuthorizationError{Operation: "AlterConfigs", ResourceType: "Topic", Resource: "open"}},
		{"acls", func() error {
			_, err := alice.ACLs(t.Context())
			return err
		}, onCluster("Describe")},
		{"create acls", func() error {
			results, err := alice.CreateACLs(t.Context(), []kafka.ACL{{"Topic", "t", "Literal", "User:a", "*", "Read", "Allow"}})
			return errors.Join(append(results, err)...)
		}, onCluster("Alter")},
		{"quotas", func() error {
			_, err := alice.Quotas(t.Context())
			return err
		}, onCluster("DescribeConfigs")},
		{"set quotas", func() error {
			results, err := alice.SetQuotas(t.Context(), []kafka.Quota{{Entity: []kafka.QuotaEntity{{Type: "user"}}, Values: map[string]float64{"producer_byte_rate": 1}}})
			return errors.Join(append(results, err)...)
		}, onCluster("AlterConfigs")},
		{"broker configs", func() error {
			_, err := alice.Configs(t.Context(), kafka.BrokerResource)
			return err
		}, onCluster("DescribeConfigs")},
		{"scram users", func() error {
			_, err := alice.ScramCredentials(t.Context())
			return err
		}, onCluster("Describe")},
		{"transactional ids", func() error {
			_, err := alice.TransactionalIDs(t.Context())
			return err
		}, kafka.AuthorizationError{Operation: "Describe", ResourceType: "TransactionalId", Resource: "*"}},
		{"group offsets", func() error {
			all, err := alice.GroupOffsets(t.Context(), []string{"theirs", "mine"})
			if len(all) != 1 || len(all["mine"]) != 1 {
				t.Errorf("offsets %v, want those of mine", all)
			}
			return err
		}, kafka.AuthorizationError{Operation: "Describe", ResourceType: "Group", Resource: "theirs"}},
		{"commit, group", func() error { return commit("theirs", "open") }, kafka.AuthorizationError{Operation: "Read", ResourceType: "Group", Resource: "theirs"}},
		{"commit, topic", func() error { return commit("mine", "closed") }, kafka.AuthorizationError{Operation: "Read", ResourceType: "Topic", Resource: "closed"}},
		{"end offsets", func() error {
			ends, err := alice.ListEndOffsets(t.Context(), []kafka.TopicPartition{{Topic: "closed"}})
			if err != nil {
				t.Fatal(err)
			}
			return ends[0].Err
		}, kafka.AuthorizationError{Operation: "Describe", ResourceType: "Topic", Resource: "closed"}},
		{"create", func() error {
			got, err := alice.CreateTopics(t.Context(), []kafka.NewTopic{{Name: "new", Partitions: 1, ReplicationFactor: 1}}, false)
			if err != nil {
				t.Fatal(err)
			}
			return got[0].Err
		}, kafka.AuthorizationError{Operation: "Create", ResourceType: "Topic", Resource: "new"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			began := time.Now()
			err := test.err()
			var got *kafka.AuthorizationError
			if !errors.Is(err, kafka.ErrAuthorization) || !errors.As(err, &got) {
				t.Fatalf("error %v, want an *AuthorizationError", err)
			}
			if *got != test.want {
				t.Errorf("error %q, want %q", got, &test.want)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("took %v, as if it had been retried", took)
			}
		})
	}

	t.Run("topic rights", func(t *testing.T) {
		got, err := alice.TopicRights(t.Context(), []string{"open", "described", "closed"})
		if err != nil {
			t.Fatal(err)
		}
		if r := got["open"]; r.Err != nil || !r.Rights.Has(kafka.OpRead) || !r.Rights.Has(kafka.OpDescribe) || r.Rights.Has(kafka.OpWrite) {
			t.Errorf("open: %v, %v, want Read and Describe", r.Rights, r.Err)
		}
		if r := got["described"]; r.Err != nil || r.Rights.Has(kafka.OpRead) || r.Rights.String() != "Describe" {
			t.Errorf("described: %v, %v, want Describe", r.Rights, r.Err)
		}
		if r := got["closed"]; !errors.Is(r.Err, kafka.ErrAuthorization) || r.Rights != 0 {
			t.Errorf("closed: %v, %v, want an *AuthorizationError", r.Rights, r.Err)
		}
	})
	t.Run("cluster rights", func(t *testing.T) {
		if r, err := alice.ClusterRights(t.Context()); err != nil || r != 0 {
			t.Errorf("alice has %v, %v, want nothing", r, err)
		}
		if r, err := root.ClusterRights(t.Context()); err != nil || !r.Has(kafka.OpAlter) || !r.Has(kafka.OpIdempotentWrite) {
			t.Errorf("root has %v, %v, want everything", r, err)
		}
	})
}
