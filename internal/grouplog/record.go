package grouplog

import (
	"fmt"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

// Record is one record of a partition of the log.
type Record struct {
	At int64 // its offset in the log
	kafka.GroupRecord
}

// Place is what a record speaks of, and what its successor takes over.
type Place struct {
	Group     string
	Topic     string // empty: the group itself
	Partition int32
}

// Place returns what the record speaks of.
func (r *Record) Place() Place { return Place{r.Group, r.Commit.Topic, r.Commit.Partition} }

// Records are the newest record of each place.
type Records map[Place]Record

// Put adds a record, unless there is a later one of its place.
func (rs Records) Put(r Record) {
	if was, ok := rs[r.Place()]; !ok || was.At <= r.At {
		rs[r.Place()] = r
	}
}

// Follower is told what a partition of the log holds.
type Follower interface {
	// Record is called for each record that no transaction made.
	Record(r Record, timestamp int64)
	// Marker is called for the end of each transaction that made records, with
	// the newest of each place. Records belongs to the follower.
	Marker(m Marker, records Records)
}

// Marker is the end of a transaction.
type Marker struct {
	ProducerID int64
	Commit     bool
	At         int64 // its offset in the log
	Timestamp  int64 // ms since 1970, by the clock of the partition's leader
}

// Partition reads one partition of the log. Its methods are for one goroutine
// at a time.
type Partition struct {
	open    map[int64]Records // by producer id: of transactions that have not ended
	decoder *batch.Decoder
}

// NewPartition returns a partition of which nothing has been read.
func NewPartition() *Partition {
	return &Partition{open: make(map[int64]Records), decoder: batch.NewDecoder()}
}

// Read tells f what the batches in raw say from offset from on; they must follow those
// read before, or repeat them. raw holds whole batches, whose CRC has been checked.
func (p *Partition) Read(raw []byte, from int64, f Follower) error {
	for rest := raw; len(rest) > 0; {
		h, one, after, err := batch.Next(rest)
		if err != nil {
			return err
		}
		rest = after
		if h.NextOffset() <= from {
			continue
		}
		if h.IsControl() {
			err = p.readMarker(&h, one, f)
		} else {
			err = p.readRecords(&h, one, from, f)
		}
		if err != nil {
			return fmt.Errorf("batch at offset %d: %w", h.BaseOffset, err)
		}
	}
	return nil
}

func (p *Partition) readRecords(h *batch.Header, raw []byte, from int64, f Follower) error {
	return p.decoder.Decode(raw, func(b *batch.Record) error {
		if b.Offset < from {
			return nil
		}
		g, ok, err := kafka.ParseGroupRecord(b.Key(), b.Value())
		if err != nil || !ok {
			return err
		}
		r := Record{b.Offset, g}
		if !h.IsTransactional() {
			f.Record(r, b.Timestamp)
			return nil
		}
		if p.open[h.ProducerID] == nil {
			p.open[h.ProducerID] = make(Records)
		}
		p.open[h.ProducerID].Put(r)
		return nil
	})
}

func (p *Partition) readMarker(h *batch.Header, raw []byte, f Follower) error {
	records := p.open[h.ProducerID]
	m, err := batch.Marker(raw)
	if err != nil || m.Type != batch.Commit && m.Type != batch.Abort {
		return nil // what Kafka may add one day ends no transaction
	}
	delete(p.open, h.ProducerID)
	if len(records) > 0 {
		f.Marker(Marker{h.ProducerID, m.Type == batch.Commit, h.BaseOffset, h.MaxTimestamp}, records)
	}
	return nil
}

// Take returns the records of a producer's open transaction, which is decided
// although its marker has not been read, and counts them as ended.
func (p *Partition) Take(producer int64) Records {
	records := p.open[producer]
	delete(p.open, producer)
	return records
}

// Open says whether a transaction that made records has not ended.
func (p *Partition) Open() bool { return len(p.open) > 0 }
