package source

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metadata"
)

// Content is what a recovery point holds, in the form of restored show -o json.
type Content struct {
	SchemaVersion int               `json:"schemaVersion"`
	Point         uint64            `json:"point"`
	Time          time.Time         `json:"time"`
	Name          string            `json:"name,omitempty"`
	Pinned        bool              `json:"pinned,omitempty"`
	Held          bool              `json:"held,omitempty"`
	Topics        []TopicContent    `json:"topics"`
	Groups        []GroupContent    `json:"groups"`
	Transactions  TxnsContent       `json:"transactions"`
	Metadata      []MetadataContent `json:"metadata"`
	Losses        []LossContent     `json:"losses"` // of what the point holds
}

// MetadataContent is a kind of metadata of the cluster.
type MetadataContent struct {
	Kind     string    `json:"kind"`
	Captured bool      `json:"captured"`
	Needs    string    `json:"needs,omitempty"` // the right without which it is not captured
	Objects  int       `json:"objects"`
	Entry    uint64    `json:"entry"` // of the log, that changed it last
	Changed  time.Time `json:"changed"`
	// Content is in the form of docs/format.md.
	Content json.RawMessage `json:"content,omitempty"`
}

// MetadataOf describes the metadata of a state, without the content.
func MetadataOf(state *manifest.State) []MetadataContent {
	list := []MetadataContent{}
	for _, name := range slices.Sorted(maps.Keys(state.Metadata)) {
		m, kind := state.Metadata[name], metadata.Kind(name)
		c := MetadataContent{Kind: name, Captured: m.Content != nil, Entry: m.Sequence, Changed: time.UnixMilli(m.Time).UTC()}
		if m.Content == nil {
			c.Needs = kind.Needs()
		} else if content, err := metadata.Decode(kind, *m.Content); err == nil { // else a later version has to count
			c.Objects = content.Len()
		}
		list = append(list, c)
	}
	return list
}

// TopicContent is one incarnation of a topic.
type TopicContent struct {
	Topic             string             `json:"topic"`
	TopicID           string             `json:"topicId"`
	Incarnation       int                `json:"incarnation"`
	PartlyRemoved     bool               `json:"partlyRemoved,omitempty"` // the retention has removed something of it, or it is lost
	Gone              bool               `json:"gone"`
	ReplicationFactor int32              `json:"replicationFactor"`
	Configs           map[string]*string `json:"configs"`
	Partitions        []PartitionContent `json:"partitions"`
}

// PartitionContent are the offsets [From, To) that a restore reads.
type PartitionContent struct {
	Partition int32 `json:"partition"`
	From      int64 `json:"from"`
	To        int64 `json:"to"`
}

// GroupContent is a group with its committed offsets.
type GroupContent struct {
	Group   string          `json:"group"`
	Type    string          `json:"type"`
	Offsets []OffsetContent `json:"offsets"`
}

// TxnsContent says how a point ends transactions, counted by partition.
type TxnsContent struct {
	// Decided are inside although their commit marker is not captured yet, Undone
	// are outside although it is.
	Decided int `json:"decided"`
	Undone  int `json:"undone"`
	// Open are outside, too: they had not come to their end.
	Open []OpenTxn `json:"open"`
	// ClosingMillis is how long it took to find that out, in as many attempts as
	// Marks; Unproven are producers whose transactions could not be told apart.
	ClosingMillis int64 `json:"closingMillis"`
	Marks         int64 `json:"marks"`
	Unproven      int64 `json:"unproven"`
}

// OpenTxn is a transaction that had not come to its end, in one partition.
type OpenTxn struct {
	Topic         string `json:"topic"`
	Partition     int32  `json:"partition"`
	ProducerID    int64  `json:"producerId"`
	ProducerEpoch int16  `json:"producerEpoch"`
	Offset        int64  `json:"offset"` // where it begins
}

// transactions describes those of the snapshot.
func (s *Snapshot) transactions() TxnsContent {
	c := TxnsContent{Open: []OpenTxn{}}
	if k := s.State.Closing; k != nil {
		c.ClosingMillis, c.Marks, c.Unproven = k.Millis, k.Marks, k.Unproven
	}
	for _, t := range s.State.Transactions {
		switch t.Kind {
		case manifest.TxnDecided:
			c.Decided++
		case manifest.TxnUndone:
			c.Undone++
		default:
			st := &s.State.Streams[t.Stream]
			c.Open = append(c.Open, OpenTxn{s.State.Topics[st.Topic].Name, st.Partition, t.ProducerID, t.Epoch, t.Offset})
		}
	}
	return c
}

// OffsetContent is one committed offset.
type OffsetContent struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Metadata  string `json:"metadata,omitempty"`
}

// GroupContents describes groups, by name.
func GroupContents(groups map[string]*manifest.Group) []GroupContent {
	list := []GroupContent{}
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		g := groups[id]
		gc := GroupContent{Group: id, Type: g.Type, Offsets: []OffsetContent{}}
		for _, k := range g.SortedOffsets() {
			o := g.Offsets[k]
			gc.Offsets = append(gc.Offsets, OffsetContent{k.Topic, k.Partition, o.Offset, o.Metadata})
		}
		list = append(list, gc)
	}
	return list
}

// Content describes the snapshot.
func (s *Snapshot) Content() *Content {
	c := &Content{SchemaVersion: 1, Point: s.Point.Sequence, Time: time.UnixMilli(s.Point.Time).UTC(), Name: s.Point.Name, Pinned: s.Point.Pinned, Held: s.Point.Held, Topics: []TopicContent{}, Losses: []LossContent{}}
	for _, i := range s.Incarnations() {
		t := TopicContent{
			Topic: i.Name, TopicID: kafka.TopicID(i.ID).String(), Incarnation: i.Nth, Gone: i.Gone,
			ReplicationFactor: i.ReplicationFactor, Configs: make(map[string]*string), Partitions: []PartitionContent{},
		}
		for _, k := range i.Configs {
			t.Configs[k.Name] = k.Value
		}
		for p := range i.Partitions {
			pc := PartitionContent{Partition: p}
			if n, ok := s.State.Current(manifest.StreamKey{TopicID: i.ID, Partition: p}); ok {
				tr := s.track(n)
				pc.From, pc.To = tr.lo, tr.hi
			}
			t.Partitions = append(t.Partitions, pc)
		}
		c.Topics = append(c.Topics, t)
	}
	c.Groups = GroupContents(s.State.Groups)
	c.Transactions = s.transactions()
	c.Metadata = MetadataOf(s.State)
	for i := range c.Metadata {
		if text := s.State.Metadata[c.Metadata[i].Kind].Content; text != nil && json.Valid([]byte(*text)) {
			c.Metadata[i].Content = json.RawMessage(*text)
		}
	}
	return c
}
