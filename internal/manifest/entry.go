package manifest

import (
	"encoding/hex"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/offsite-kafka/offsite/internal/segment"
)

// Limits of docs/format.md.
const (
	maxTopicName   = 249
	maxName        = 64 << 10
	maxConfigName  = 1 << 10
	maxConfigValue = 1 << 20
	maxNumber      = 1 << 24
	maxOffset      = 1<<63 - 2
	maxPartitions  = 1 << 31
	maxBody        = 64 << 20
)

// Entry is one atomic commit, decoded. Sections follow docs/format.md.
type Entry struct {
	Sequence uint64
	Previous Digest
	Nonce    ID
	Writer   ID
	Time     int64 // ms since 1970 by the writer's clock; information only

	Agent     *Agent
	Topics    []TopicChange
	Streams   []NewStream
	Segments  []Segment
	Ranges    []Range
	LogStarts []LogStart
	Groups    []GroupChange
	Point     *Point

	// Transactions replace those of the entry before.
	Transactions []Transaction
	PointChanges []PointChange
	Metadata     []MetadataChange
	Removed      *SegmentLot // from which nobody may read any more, or nil
	Moves        *Moves      // or nil
	Fences       []ID        // writers that may not append any more, ascending
	Deleted      *SegmentLot // whose objects are deleted, or nil
	Losses       *Losses     // or nil
	Keys         *Keys       // of an encrypted repository, if they change
	Closing      *Closing    // of the transactions at Point, or nil
	Snapshot     *SnapshotRef
	Note         *Note // what the entry was written for, or nil
	Verification *Verification
	Promotion    *Promotion // of a replica that is none from this entry on, or nil
}

// captures says whether the entry says something of the source, as only one that
// captures does.
func (e *Entry) captures() bool {
	return len(e.Ranges) > 0 || len(e.Streams) > 0 || len(e.Topics) > 0 || len(e.Groups) > 0 || e.Point != nil
}

// Agent says who wrote the entries of a writer, from this one on.
type Agent struct {
	Program   string // and its version, and what it was asked to do
	Host      string
	Principal string // of Kafka, or with OSUser in front who runs the process
}

// OSUser is what a principal begins with that is a user of the operating system.
const OSUser = "os:"

// Topic is one incarnation of a topic, as the source had it.
type Topic struct {
	ID                [16]byte
	Name              string
	Gone              bool
	Partitions        int32
	ReplicationFactor int32
	Configs           []Config // the non-default ones, by name
}

// Config is one setting; a nil Value was not readable (sensitive).
type Config struct {
	Name  string
	Value *string
}

// TopicChange is the new description of topic Number.
type TopicChange struct {
	Number int
	Topic
}

// NewStream introduces the stream with the next free number.
type NewStream struct {
	Topic     int
	Partition int32
	Parent    int // number of the stream that it branches from, or -1
	First     int64
}

// Segment names a data object that this entry commits.
type Segment struct {
	Counter uint64
	segment.Ref
}

// SegmentPrefix is what the keys of all segments begin with.
const SegmentPrefix = "data/"

// SegmentKey is the key of a writer's segment.
func SegmentKey(writer ID, counter uint64) string {
	return fmt.Sprintf(SegmentPrefix+"%s/%08d", writer, counter)
}

// ParseSegmentKey is the inverse of SegmentKey. Keys that no segment can have
// are not ok.
func ParseSegmentKey(key string) (writer ID, counter uint64, ok bool) {
	name, number, _ := strings.Cut(strings.TrimPrefix(key, SegmentPrefix), "/")
	id, err := hex.DecodeString(name)
	if err != nil || len(id) != len(writer) {
		return writer, 0, false
	}
	copy(writer[:], id)
	counter, err = strconv.ParseUint(number, 10, 64)
	return writer, counter, err == nil && SegmentKey(writer, counter) == key
}

// GapReason says why offsets are missing.
type GapReason uint8

// The reasons of gaps.
const (
	// GapRetention: retention or DeleteRecords removed the records before they
	// were read.
	GapRetention GapReason = 0
	// GapEmpty: the source served no batch there, though its high watermark
	// lies beyond.
	GapEmpty GapReason = 1
)

func (g GapReason) String() string {
	if g == GapRetention {
		return "removed by retention or DeleteRecords before it was read"
	}
	return "no batches served by the source"
}

// Span advances a stream's position by Offsets.
type Span struct {
	Gap     bool
	Reason  GapReason // of a gap
	Segment int       // of data: index into Entry.Segments
	Offsets int64
	// Of data, by the batch headers, without control batches:
	Records                    int64
	MinTimestamp, MaxTimestamp int64 // ms; meaningless when Records is 0
}

// Range is what an entry adds to a stream, from its position on.
type Range struct {
	Stream      int
	LeaderEpoch int32 // of the last batch after this entry
	EpochGiven  bool  // LeaderEpoch is stated; else the stream's last one holds
	Spans       []Span
}

// LogStart is the source's log start offset of a stream.
type LogStart struct {
	Stream int
	Offset int64
}

// GroupChange is what changed of a consumer group.
type GroupChange struct {
	ID           string
	Gone         bool
	Type         string // classic, consumer, streams
	ProtocolType string
	Offsets      []OffsetChange
}

// OffsetChange is a committed offset, or the news that there is none any more.
type OffsetChange struct {
	Topic     string
	Partition int32
	Committed bool
	Offset    int64
	Epoch     int32 // leader epoch of the commit, -1 for none
	Metadata  string
}

// Point is a recovery point. Its cut is the positions after its entry, less
// the exceptions.
type Point struct {
	Name       string
	Time       int64 // ms since 1970, see docs/format.md
	Exceptions []CutException
}

// CutException says that the cut of a stream lies Behind offsets below its
// position.
type CutException struct {
	Stream int
	Behind int64
}

// LogKey is the key of the log entry with the given sequence number.
func LogKey(seq uint64) string {
	const zeros = "000000000000"
	s := strconv.FormatUint(seq, 10)
	s = zeros[:max(0, len(zeros)-len(s))] + s
	return "log/" + s[:len(s)-4] + "/" + s
}

// parseLogKey returns the sequence number of a log key, and whether it is one.
func parseLogKey(key string) (uint64, bool) {
	var seq uint64
	name := key[strings.LastIndexByte(key, '/')+1:]
	if len(name) != 12 {
		return 0, false
	}
	for _, c := range name {
		if c < '0' || c > '9' {
			return 0, false
		}
		seq = seq*10 + uint64(c-'0')
	}
	return seq, LogKey(seq) == key
}

// Join adds batches to a span of data.
func (s *Span) Join(t segment.Summary) {
	if t.Records > 0 {
		if s.Records == 0 {
			s.MinTimestamp, s.MaxTimestamp = t.MinTimestamp, t.MaxTimestamp
		} else {
			s.MinTimestamp = min(s.MinTimestamp, t.MinTimestamp)
			s.MaxTimestamp = max(s.MaxTimestamp, t.MaxTimestamp)
		}
	}
	s.Offsets += t.Next - t.Start
	s.Records += t.Records
}

// SortOffsets puts changes into the order of docs/format.md.
func SortOffsets(changes []OffsetChange) {
	sort.Slice(changes, func(i, j int) bool { return changes[i].key().less(changes[j].key()) })
}
