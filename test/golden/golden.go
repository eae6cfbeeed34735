// Package golden holds repositories of each released format version, with what a restore of each must yield. They were made by the
// program in the make folder from real brokers, and are never made again: whatever is released later has to read them.
//
//	v1/NAME/repository/          the repository, as backupd wrote it
//	v1/NAME/expected.jsonl       what its newest recovery point yields
//	v1/NAME/expected-ID.jsonl    what the older point ID yields
//	v1/NAME/groups-TIME.jsonl    what groups had committed at a time, in ms since 1970, where the log of groups is captured
//	v1/NAME/metadata-ID.jsonl    what the point ID knows of the cluster besides, where that is what the repository is about
//
// Of one that is encrypted the repository is in v1/NAME/encrypted/, and beside it are reader.txt and writer.txt, identities for
// nothing but that, and signing.txt, the public key by which its log is signed.
//
// The expectations are what the generator produced and what a consumer of committed records was served by the broker; no
// code that reads repositories had a part in them.
package golden

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
)

// Topic is the line of a topic.
type Topic struct {
	Kind        string            `json:"kind"`  // "topic"
	Topic       string            `json:"topic"` // name
	ID          string            `json:"id"`    // as Kafka prints it
	Partitions  int32             `json:"partitions"`
	Replication int32             `json:"replication"`
	Configs     map[string]string `json:"configs"` // the non-default ones
}

// Record is the line of a record that a consumer of committed records sees.
type Record struct {
	Kind      string   `json:"kind"` // "record"
	Topic     string   `json:"topic"`
	ID        string   `json:"id"`
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Timestamp int64    `json:"timestamp"` // ms, as the consumer sees it
	Key       Bytes    `json:"key"`
	Value     Bytes    `json:"value"`
	Headers   []Header `json:"headers"`
}

// Header is a record's header: key and value.
type Header [2]Bytes

// Offset is the line of a group's committed offset.
type Offset struct {
	Kind      string `json:"kind"` // "offset"
	Group     string `json:"group"`
	Type      string `json:"type"`
	Protocol  string `json:"protocol"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Epoch     int32  `json:"epoch"`
	Metadata  string `json:"metadata"`
}

// Bytes are hex digits in JSON. Null bytes are nil, which differs from empty.
type Bytes []byte

// MarshalJSON writes hex digits, or null.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if b == nil {
		return []byte("null"), nil
	}
	return json.Marshal(hex.EncodeToString(b))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	var digits *string
	if err := json.Unmarshal(text, &digits); err != nil || digits == nil {
		*b = nil
		return err
	}
	var err error
	*b, err = hex.DecodeString(*digits)
	return err
}

// Content is what a recovery point yields: topics by name, records by topic name, partition and offset, committed offsets
// by group, topic and partition.
type Content struct {
	Topics  []Topic
	Records []Record
	Offsets []Offset
}

// Encode returns the lines of an expected.jsonl. Equal content has equal lines.
func (c *Content) Encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, t := range c.Topics {
		t.Kind = "topic"
		if err := enc.Encode(t); err != nil {
			return nil, err
		}
	}
	for _, r := range c.Records {
		r.Kind = "record"
		if r.Headers == nil {
			r.Headers = []Header{}
		}
		if err := enc.Encode(r); err != nil {
			return nil, err
		}
	}
	for _, o := range c.Offsets {
		o.Kind = "offset"
		if err := enc.Encode(o); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// Decode reads lines that Encode wrote.
func Decode(lines []byte) (*Content, error) {
	var c Content
	for line := range bytes.Lines(lines) {
		var kind struct{ Kind string }
		if err := json.Unmarshal(line, &kind); err != nil {
			return nil, err
		}
		var err error
		switch kind.Kind {
		case "topic":
			c.Topics, err = appendLine(c.Topics, line)
		case "offset":
			c.Offsets, err = appendLine(c.Offsets, line)
		default:
			c.Records, err = appendLine(c.Records, line)
		}
		if err != nil {
			return nil, err
		}
	}
	return &c, nil
}

func appendLine[T any](list []T, line []byte) ([]T, error) {
	var v T
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	err := dec.Decode(&v)
	return append(list, v), err
}
