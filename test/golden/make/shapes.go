package main

import (
	"bytes"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var codecs = []struct {
	name  string
	codec kgo.CompressionCodec
}{
	{"none", kgo.NoCompression()},
	{"gzip", kgo.GzipCompression()},
	{"snappy", kgo.SnappyCompression()},
	{"lz4", kgo.Lz4Compression()},
	{"zstd", kgo.ZstdCompression()},
}

// anyTime lets a broker take and keep records of any timestamp.
var anyTime = map[string]string{"retention.ms": "-1", "message.timestamp.after.max.ms": "9223372036854775807"}

// shapes is every codec and kind of record, with both kinds of timestamps, over three entries of which one only changes a config.
func shapes(s *source) {
	appended := maps.Clone(anyTime)
	appended["message.timestamp.type"] = "LogAppendTime"
	for _, c := range codecs {
		s.create("codec-"+c.name, 2, anyTime)
	}
	s.create("append-time", 1, appended)
	s.create("empty", 3, map[string]string{"cleanup.policy": "compact,delete", "max.message.bytes": "2000000"})

	for round := range 2 {
		for _, c := range codecs {
			client, err := s.newClient(kgo.ProducerBatchCompression(c.codec))
			if err != nil {
				s.fail("connect", err)
				return
			}
			s.produce(client, "codec-"+c.name, 0, oddRecords()...)
			s.produce(client, "codec-"+c.name, 0, textRecords(c.name, 3+round)...)
			s.produce(client, "append-time", 0, textRecords("appended "+c.name, 2)...)
			client.Close()
		}
		if round == 1 { // large enough to be restored as it is
			s.produce(s.client, "codec-none", 1, textRecords("more than eight kilobytes", 9)...)
		}
		s.quietPoint()
	}
	s.alter("codec-gzip", "max.message.bytes", "1000001")
	s.quietPoint()
}

// oddRecords are what encoders get wrong.
func oddRecords() []*kgo.Record {
	at := func(ms int64) time.Time { return time.UnixMilli(ms) }
	return []*kgo.Record{
		{Timestamp: at(1_700_000_000_000), Key: nil, Value: nil},
		{Timestamp: at(1_700_000_000_000), Key: []byte{}, Value: []byte{}},
		{Timestamp: at(0), Key: []byte("at the epoch"), Value: nil},
		{Timestamp: at(4_102_444_800_123), Key: nil, Value: []byte("in the year 2100, and then back")},
		{Timestamp: at(1_600_000_000_001), Key: []byte{0, 255, 128}, Value: []byte("Grüße ☃"), Headers: []kgo.RecordHeader{
			{Key: "twice", Value: []byte("first")},
			{Key: "twice", Value: []byte("second")},
			{Key: "twice", Value: nil},
			{Key: "empty", Value: []byte{}},
			{Key: "", Value: []byte("the key is empty")},
			{Key: "\xff\xfe is not UTF-8 \x00", Value: []byte{0xc3, 0x28}},
		}},
		{Timestamp: at(1_600_000_000_000), Key: []byte("many"), Headers: manyHeaders(40)},
	}
}

func manyHeaders(n int) []kgo.RecordHeader {
	list := make([]kgo.RecordHeader, n)
	for i := range list {
		list[i] = kgo.RecordHeader{Key: fmt.Sprint("h", i%7), Value: fmt.Append(nil, i)}
	}
	return list
}

// textRecords compress.
func textRecords(label string, n int) []*kgo.Record {
	list := make([]*kgo.Record, n)
	for i := range list {
		list[i] = &kgo.Record{
			Timestamp: time.UnixMilli(1_750_000_000_000 + int64(i)), Key: fmt.Appendf(nil, "%s %d", label, i),
			Value: bytes.Repeat([]byte(label+" "), 40),
		}
	}
	return list
}

// alter sets a config of a topic.
func (s *source) alter(topic, name, value string) {
	if s.err != nil {
		return
	}
	answers, err := s.admin.AlterTopicConfigs(s.ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, topic)
	if err == nil {
		err = answers[0].Err
	}
	s.fail("alter "+topic, err)
	for i := range s.topics {
		if s.topics[i].Topic == topic {
			s.topics[i].Configs = maps.Clone(s.topics[i].Configs)
			s.topics[i].Configs[name] = value
		}
	}
}
