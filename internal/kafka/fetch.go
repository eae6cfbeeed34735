package kafka

import (
	"context"
	"errors"
	"time"
)

// Fetcher reads raw record batches. It owns one connection per broker for
// fetches, on which the broker serves one request after the other: use one
// Fetcher per stream of requests that must not wait for each other. Its
// methods may be called concurrently; fetches from the same broker queue.
type Fetcher struct{}

// FetchRequest asks one broker for records of partitions that it leads.
type FetchRequest struct {
	// MaxWait is how long the broker may wait for MinBytes to be there.
	MaxWait  time.Duration
	MinBytes int32
	// MaxBytes bounds the response. One batch is always returned, even when
	// it is larger than all limits.
	MaxBytes int32
	// Partitions are served in this order until MaxBytes is used up: rotate
	// the order, or the later ones starve. The same partition must not be
	// there twice.
	Partitions []FetchPartition
}

// FetchPartition is where to read one partition from. Topic and TopicID are
// both needed: which of them is sent depends on the broker's version.
type FetchPartition struct {
	Topic     string
	TopicID   TopicID
	Partition int32
	Offset    int64 // the first offset wanted
	// LeaderEpoch is the epoch in the metadata that named the broker as the
	// leader; the broker refuses to answer under another. -1 turns this off.
	LeaderEpoch int32
	// LastFetchedEpoch is the epoch of the batch that ends at Offset. The
	// broker compares it with its log and answers with Diverging if the two
	// part. -1 turns this off.
	LastFetchedEpoch int32
	MaxBytes         int32
}

// FetchResponse is the answer to a FetchRequest.
type FetchResponse struct {
	// Throttle is how long the broker's quota asks us to wait. A throttled
	// response may be empty: that does not mean that there is no data. The
	// Fetcher itself delays the next request to this broker.
	Throttle time.Duration
	// Partitions are those that the broker answered for, in its order. It
	// may leave some out; ask for them again.
	Partitions []FetchedPartition
}

// FetchedPartition is the answer for one partition.
type FetchedPartition struct {
	Topic     string
	TopicID   TopicID
	Partition int32
	// Err matches ErrNotLeader, ErrFencedLeaderEpoch, ErrUnknownLeaderEpoch,
	// ErrUnknownTopic, ErrTopicRecreated, ErrOffsetOutOfRange, ErrRetriable or
	// ErrAuthorization. Offsets that the broker did not give are -1.
	Err              error
	HighWatermark    int64
	LastStableOffset int64
	LogStartOffset   int64
	// Diverging, if set, says that the log does not continue what the caller
	// has: see FetchPartition.LastFetchedEpoch. Records is empty.
	Diverging *Divergence
	// Leader, if set, is the broker's own view of who leads.
	Leader *LeaderHint
	// PreferredReplica is the broker to fetch from instead, as it is in the
	// same rack; -1 if there is none. Records is empty when it is set.
	PreferredReplica int32
	// Records are whole batches except for the ends: the first may begin
	// before the requested offset, the last may be cut short. They alias the
	// buffer of the whole response, which lives as long as any of them does.
	// The caller owns it.
	Records []byte
}

// Divergence is the end of the largest epoch in the broker's log that is not
// larger than the one the caller gave: what the caller has from EndOffset on is
// not, or no longer, in the broker's log.
type Divergence struct {
	Epoch     int32
	EndOffset int64
}

// LeaderHint is a partition's leader as a broker sees it.
type LeaderHint struct {
	Broker int32
	Epoch  int32
}

// NewFetcher returns a Fetcher with connections of its own, opened when they
// are needed.
func (c *Cluster) NewFetcher() (*Fetcher, error) { return nil, errors.ErrUnsupported }

// Fetch sends one request and returns its answer, reading uncommitted records
// up to the high watermark. It does not retry. Errors of single partitions are
// in the response; an error of the whole request matches ErrRetriable when the
// connection was lost or the broker is not there.
//
// Cancelling ctx closes the connection, and so fails other fetches from the
// same broker.
func (f *Fetcher) Fetch(ctx context.Context, broker int32, req FetchRequest) (FetchResponse, error) {
	return FetchResponse{}, errors.ErrUnsupported
}

// Close ends the Fetcher's connections. Fetches in progress fail.
func (f *Fetcher) Close() {}
