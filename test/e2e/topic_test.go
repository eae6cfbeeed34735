//go:build e2e

package e2e_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// configs are topic configs.
type configs map[string]string

// admin returns a client of the cluster's administration.
func admin(t testing.TB, c *cluster.Cluster) *kadm.Client { return kadm.NewClient(c.Client(t)) }

// createTopic creates a topic on all brokers and waits for its leaders.
func createTopic(t testing.TB, c *cluster.Cluster, name string, partitions int32, cfg configs) {
	t.Helper()
	values := make(map[string]*string)
	for k, v := range cfg {
		values[k] = &v
	}
	a := admin(t, c)
	defer a.Close()
	// The name of a deleted topic is free a moment later.
	eventually(t, "create "+name, func() bool {
		_, err := a.CreateTopic(t.Context(), partitions, -1, values, name)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			t.Fatalf("create %s: %v", name, err)
		}
		return err == nil
	})
	r := &reader{t: t, client: c.Client(t)}
	defer r.client.Close()
	r.lookUp(name)
}

// produce sends records and waits until all in-sync replicas have them.
func produce(t testing.TB, client *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// producer returns a client that sends to the partitions that the records name, in batches as large as they come.
func producer(t testing.TB, c *cluster.Cluster, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	return c.Client(t, append([]kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}, options...)...)
}

// alterTopic sets configs of a topic and waits until they hold.
func alterTopic(t testing.TB, c *cluster.Cluster, name string, cfg configs) {
	t.Helper()
	var changes []kadm.AlterConfig
	for k, v := range cfg {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: &v})
	}
	a := admin(t, c)
	defer a.Close()
	answers, err := a.AlterTopicConfigs(t.Context(), changes, name)
	if err != nil || answers[0].Err != nil {
		t.Fatalf("alter %s: %v, %+v", name, err, answers)
	}
}

// topicConfigs returns what is set on a topic itself.
func topicConfigs(t testing.TB, c *cluster.Cluster, name string) configs {
	t.Helper()
	a := admin(t, c)
	defer a.Close()
	all, err := a.DescribeTopicConfigs(t.Context(), name)
	if err != nil || all[0].Err != nil {
		t.Fatalf("configs of %s: %v, %+v", name, err, all)
	}
	cfg := make(configs)
	for _, k := range all[0].Configs {
		if k.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
			cfg[k.Key] = k.MaybeValue()
		}
	}
	return cfg
}

// deleteTopic deletes a topic.
func deleteTopic(t testing.TB, c *cluster.Cluster, name string) {
	t.Helper()
	a := admin(t, c)
	defer a.Close()
	if _, err := a.DeleteTopic(t.Context(), name); err != nil {
		t.Fatalf("delete %s: %v", name, err)
	}
}

// deleteRecords moves the log start of a partition.
func deleteRecords(t testing.TB, c *cluster.Cluster, topic string, partition int32, before int64) {
	t.Helper()
	a := admin(t, c)
	defer a.Close()
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: before})
	answers, err := a.DeleteRecords(t.Context(), offsets)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		t.Fatalf("delete records of %s-%d before %d: %v", topic, partition, before, err)
	}
}

// rawProducer appends batches that no client would make.
type rawProducer struct {
	t        testing.TB
	bed      *cluster.Cluster
	producer *kafka.Producer
	topic    kafka.Topic
	packer   *batch.Packer
}

func newRawProducer(t testing.TB, c *cluster.Cluster, topic string) *rawProducer {
	t.Helper()
	cl, err := kafka.Connect(t.Context(), kafka.Config{BootstrapServers: c.Bootstrap()}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	p, err := cl.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	topics, err := cl.Topics(t.Context(), []string{topic})
	if err != nil || topics[0].Err != nil {
		t.Fatalf("look up %s: %v, %+v", topic, err, topics)
	}
	return &rawProducer{t: t, bed: c, producer: p, topic: topics[0], packer: batch.NewPacker()}
}

// stamped is a record with its timestamp.
type stamped struct {
	at     int64 // ms
	record *batch.Record
}

// send appends records as one batch and returns the offset of the first.
func (p *rawProducer) send(partition int32, codec batch.Codec, records ...stamped) int64 {
	p.t.Helper()
	b, err := p.packer.Builder(codec)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, r := range records {
		b.Append(r.at, r.record)
	}
	raw, _, err := b.Finish(batch.ProducerIdentity{ID: -1, Epoch: -1, Sequence: -1})
	if err != nil {
		p.t.Fatal(err)
	}
	part := kafka.ProducePartition{Topic: p.topic.Name, TopicID: p.topic.ID, Partition: partition, Batch: raw}
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		answers, err := p.producer.Produce(p.t.Context(), p.topic.Partitions[partition].Leader, []kafka.ProducePartition{part}, patience)
		if err == nil {
			err = answers[0].Err
		}
		if err == nil {
			return answers[0].BaseOffset
		}
		// A leader exists a moment before its broker knows. Nothing is appended then.
		fresh := errors.Is(err, kafka.ErrNotLeader) || errors.Is(err, kafka.ErrUnknownTopic)
		if !fresh || time.Now().After(deadline) {
			p.t.Fatalf("produce to %s-%d: %v", p.topic.Name, partition, err)
		}
	}
}

func ms(n int64) string { return strconv.FormatInt(n, 10) }
