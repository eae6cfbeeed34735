package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/golden"
)

// source is the cluster that is backed up, and what is known to be in it. The first error sticks and makes the methods do nothing.
type source struct {
	ctx     context.Context
	bed     *cluster.Cluster
	admin   *kadm.Client
	client  *kgo.Client // plain producer
	backupd string
	dir     string   // takes the repository and the expectations
	folder  string   // in it, of the repository
	flags   []string // of backupd
	err     error

	topics []golden.Topic
	groups map[string][]golden.Offset
	points []*point

	through *between                  // backupd, to the broker; nil: it reaches the broker itself
	hanging *transaction              // that its coordinator never ends
	moments map[int64][]golden.Offset // what groups had committed at times, in ms since 1970
}

// point is a recovery point and what it must yield.
type point struct {
	id   uint64
	ends kadm.ListedOffsets // high watermarks
	want golden.Content
}

func connect(ctx context.Context, c *cluster.Cluster, backupd, dir string) (*source, error) {
	s := &source{ctx: ctx, bed: c, backupd: backupd, dir: dir, folder: "repository", groups: make(map[string][]golden.Offset)}
	s.reconnect()
	return s, s.err
}

// reconnect forgets what the client knows of the cluster.
func (s *source) reconnect() {
	if s.client != nil {
		s.client.Close()
	}
	client, err := s.newClient()
	s.fail("connect", err)
	s.client, s.admin = client, kadm.NewClient(client)
}

func (s *source) close() { s.client.Close() }

// newClient returns a client whose producer puts records that are sent together into one batch.
func (s *source) newClient(options ...kgo.Opt) (*kgo.Client, error) {
	options = append([]kgo.Opt{
		kgo.SeedBrokers(s.bed.Bootstrap()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(100 * time.Millisecond), kgo.ProducerBatchCompression(kgo.NoCompression()),
	}, options...)
	return kgo.NewClient(options...)
}

func (s *source) fail(what string, err error) {
	if s.err == nil && err != nil {
		s.err = fmt.Errorf("%s: %w", what, err)
	}
}

// create creates a topic.
func (s *source) create(name string, partitions int32, configs map[string]string) {
	values := make(map[string]*string)
	for k, v := range configs {
		values[k] = &v
	}
	for s.err == nil {
		answer, err := s.admin.CreateTopic(s.ctx, partitions, 1, values, name)
		if errors.Is(err, kerr.TopicAlreadyExists) { // the name of a deleted topic is free a moment later
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.fail("create "+name, err)
		if configs == nil {
			configs = map[string]string{}
		}
		id := base64.RawURLEncoding.EncodeToString(answer.ID[:]) // as Kafka prints it
		s.topics = append(s.topics, golden.Topic{Topic: name, ID: id, Partitions: partitions, Replication: 1, Configs: configs})
		return
	}
}

// drop deletes a topic.
func (s *source) drop(name string) {
	if s.err != nil {
		return
	}
	_, err := s.admin.DeleteTopic(s.ctx, name)
	s.fail("delete "+name, err)
	s.reconnect() // a client goes on with the topic id that it knows
	s.topics = slices.DeleteFunc(s.topics, func(t golden.Topic) bool { return t.Topic == name })
}

// produce appends the records to a partition, as one batch.
func (s *source) produce(client *kgo.Client, topic string, partition int32, records ...*kgo.Record) {
	if s.err != nil {
		return
	}
	for _, r := range records {
		r.Topic, r.Partition = topic, partition
	}
	s.fail("produce to "+topic, client.ProduceSync(s.ctx, records...).FirstErr())
}

// trim deletes the records below an offset.
func (s *source) trim(topic string, partition int32, before int64) {
	if s.err != nil {
		return
	}
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: before})
	answers, err := s.admin.DeleteRecords(s.ctx, offsets)
	if err == nil {
		err = answers.Error()
	}
	s.fail("delete records of "+topic, err)
}

// quietPoint backs up a cluster in which no transaction is open. Consumers must see the same before and after.
func (s *source) quietPoint() *point { return s.quietPointBy("once") }

// quietPointBy does so by a command of backupd.
func (s *source) quietPointBy(command ...string) *point {
	before := s.consume(s.ends())
	p := s.pointBy(command...)
	if s.err != nil {
		return p
	}
	p.want.Records = s.consume(p.ends)
	if !reflect.DeepEqual(before, p.want.Records) {
		s.fail("back up", errors.New("consumers do not see the same before and after"))
	}
	return p
}

// point runs backupd once. The records that the point yields are for the caller to fill in.
func (s *source) point() *point { return s.pointBy("once") }

// pointBy runs a command of backupd that makes a point.
func (s *source) pointBy(command ...string) *point {
	if s.err != nil {
		return nil
	}
	want := s.committed()
	out := s.run(append(command, "--bootstrap-server", s.bootstrap())...)
	if s.through != nil {
		s.through.close()
		s.through = nil
	}
	var answer struct{ Point uint64 }
	s.fail("answer of backupd", json.Unmarshal(out, &answer))
	p := &point{id: answer.Point, ends: s.ends()}
	p.want.Topics = slices.SortedFunc(slices.Values(s.topics), func(a, b golden.Topic) int { return strings.Compare(a.Topic, b.Topic) })
	p.want.Offsets = want
	s.points = append(s.points, p)
	return p
}

// committed returns what all groups have committed.
func (s *source) committed() []golden.Offset {
	var list []golden.Offset
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		list = append(list, s.groups[name]...)
	}
	return list
}

// run runs a command of backupd on the repository and returns what it prints.
func (s *source) run(command ...string) []byte { return s.runFor(0, command...) }

// runFor does so with one that ends with an exit code.
func (s *source) runFor(code int, command ...string) []byte {
	if s.err != nil {
		return nil
	}
	cmd := exec.CommandContext(s.ctx, s.backupd, slices.Concat(command, s.flags, []string{"-o", "json", "--repo", filepath.Join(s.dir, s.folder)})...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		s.fail("backupd", fmt.Errorf("want exit code %d: %w", code, err))
	}
	return out
}

// ends returns the high watermarks of all topics.
func (s *source) ends() kadm.ListedOffsets {
	if s.err != nil || len(s.topics) == 0 {
		return nil
	}
	ends, err := s.admin.ListEndOffsets(s.ctx, s.topicNames()...)
	s.fail("list end offsets", err)
	return ends
}

func (s *source) topicNames() []string {
	var names []string
	for _, t := range s.topics {
		names = append(names, t.Topic)
	}
	return names
}

// writeExpected writes what the points must yield beside the repository.
func (s *source) writeExpected() {
	for i, p := range s.points {
		name := fmt.Sprintf("expected-%d.jsonl", p.id)
		if i == len(s.points)-1 {
			name = "expected.jsonl"
		}
		lines, err := p.want.Encode()
		s.fail("encode", err)
		s.fail("write", os.WriteFile(filepath.Join(s.dir, name), lines, 0o644))
	}
}
