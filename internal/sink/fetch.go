package sink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Pauses of the fetch loops.
const (
	retryPause = 250 * time.Millisecond // after an error that passes
	idlePause  = time.Second            // with nothing to fetch, at most
)

// minFetchBytes lets the broker wait for company, at most FetchWait, instead
// of answering once for every record.
const minFetchBytes = 256 << 10

// leastFetch is what is asked of a broker that has little to say. Each request
// reserves what it asks for while the broker waits for MinBytes: if idle brokers
// were asked for as much as busy ones, the busy ones would wait for room.
const leastFetch = 512 << 10

// appetite returns how much to ask for after an answer of got bytes to a
// request for want, and for at most most.
func appetite(want, most int32, got int64) int32 {
	switch {
	case got > int64(want)/2:
		want = int32(min(2*int64(want), int64(most)))
	case got < int64(want)/4:
		want /= 2
	}
	return max(want, min(leastFetch, most))
}

// emptyLimit is how many answers without a batch, each with the partition
// first in the request, show that there is nothing below the high watermark.
const emptyLimit = 20

// cutLimit is how many answers in a row may hold only part of the same batch,
// although the first partition of a request gets its first batch whole.
const cutLimit = 20

// fetchLoop fetches from one broker until ctx ends. It is the only one that
// asks this broker, with one request in flight.
func (ses *session) fetchLoop(ctx context.Context, broker int32) error {
	fetcher, err := ses.Cluster.NewFetcher()
	if err != nil {
		return err
	}
	defer fetcher.Close()
	want := appetite(0, ses.Config.FetchBytes, 0)
	for ctx.Err() == nil {
		streams, parts, changed := ses.table.lease(broker, time.Now(), min(want, ses.Config.PartitionBytes))
		if len(streams) == 0 {
			wait(ctx, changed, idlePause)
			continue
		}
		got, err := ses.fetch(ctx, fetcher, broker, want, streams, parts)
		want = appetite(want, ses.Config.FetchBytes, got)
		ses.table.release(streams, err == nil)
		ses.kickCut()
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func wait(ctx context.Context, changed <-chan struct{}, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer.C:
	}
}

// fetch asks for up to want bytes of the leased streams once and hands what
// comes to the gatherer. got is how much that was.
func (ses *session) fetch(ctx context.Context, fetcher *kafka.Fetcher, broker, want int32, streams []*stream, parts []kafka.FetchPartition) (got int64, err error) {
	grant, err := ses.budget.reserve(ctx, int64(want))
	if err != nil {
		return 0, err
	}
	defer grant.done()
	resp, err := fetcher.Fetch(ctx, broker, kafka.FetchRequest{
		MaxWait: ses.Config.FetchWait, MinBytes: min(want, minFetchBytes), MaxBytes: want, Partitions: parts,
	})
	if errors.Is(err, kafka.ErrRetriable) {
		ses.Log.Debug("fetch", "broker", broker, "error", err)
		ses.refreshSoon()
		wait(ctx, nil, retryPause)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for i := range resp.Partitions {
		got += int64(len(resp.Partitions[i].Records))
	}
	grant.shrink(got)
	pieces, err := ses.receive(ctx, streams, resp, grant)
	if err != nil {
		return got, err
	}
	if resp.Throttle > 0 {
		wait(ctx, nil, resp.Throttle)
	}
	if len(pieces) == 0 {
		return got, nil
	}
	select {
	case ses.pieces <- pieces:
		return got, nil
	case <-ctx.Done():
		return got, ctx.Err() // the session ends: positions in the log have not moved
	}
}

// receive turns a response into pieces and advances the streams.
func (ses *session) receive(ctx context.Context, streams []*stream, resp kafka.FetchResponse, grant *grant) ([]piece, error) {
	byKey := make(map[manifest.StreamKey]*stream, len(streams))
	for _, s := range streams {
		byKey[s.key] = s
	}
	var all []piece
	for i := range resp.Partitions {
		fp := &resp.Partitions[i]
		s := byKey[manifest.StreamKey{TopicID: fp.TopicID, Partition: fp.Partition}]
		if s == nil {
			return nil, fmt.Errorf("the broker answered for %s-%d, which was not asked for", fp.Topic, fp.Partition)
		}
		pieces, err := ses.receivePartition(ctx, s, fp, s == streams[0] && resp.Throttle == 0)
		if err != nil {
			return nil, fmt.Errorf("%s-%d: %w", s.topic, s.key.Partition, err)
		}
		all = append(all, pieces...)
	}
	for i := range all {
		if !all[i].gap {
			grant.use()
			all[i].grant = grant
		}
	}
	return all, nil
}

// receivePartition takes the answer for one stream. due says that the broker had
// to send at least one batch of it if there is one.
func (ses *session) receivePartition(ctx context.Context, s *stream, fp *kafka.FetchedPartition, due bool) ([]piece, error) {
	switch {
	case fp.Err != nil:
		return ses.fetchFailed(ctx, s, fp.Err)
	case fp.Diverging != nil:
		return nil, ses.diverged(s, fp.Diverging.EndOffset, fp.Diverging.Epoch, "leader epoch of the last batch is not in the leader's log")
	}
	ses.table.confirm(s)
	ses.table.reached(s, fp.HighWatermark)
	next, lastEpoch := ses.table.position(s)
	pieces, err := walk(fp.Records, next, fp.HighWatermark, ses.Config.BlockBytes)
	if errors.Is(err, errCutOnly) {
		if fp.HighWatermark <= next {
			return nil, nil
		}
		ses.table.starve(s)
		if due && ses.table.countCut(s) > cutLimit {
			return nil, fmt.Errorf("the batch at offset %d never arrives whole: its length field may be damaged", next)
		}
		return nil, nil
	}
	if errors.Is(err, batch.ErrMagic) {
		return nil, fmt.Errorf("the topic holds messages of a format older than Kafka 0.11, which cannot be captured: exclude the topic, or copy it into a new one: %w", err)
	}
	if err != nil {
		return nil, err
	}
	if len(pieces) == 0 {
		return ses.answeredEmpty(ctx, s, fp, next, due)
	}
	for i := range pieces {
		pieces[i].stream, pieces[i].logStart = s, fp.LogStartOffset
	}
	last := &pieces[len(pieces)-1].sum
	ses.table.advance(s, last.Next, max(last.LeaderEpoch, lastEpoch))
	return pieces, nil
}

// answeredEmpty deals with an answer without batches. A throttled broker and
// a full response look like that, too; only a stream that stays empty at the
// front of requests that were not throttled has nothing below its high
// watermark (everything there has been compacted away). That is recorded as a
// gap, never taken for the end.
func (ses *session) answeredEmpty(ctx context.Context, s *stream, fp *kafka.FetchedPartition, next int64, due bool) ([]piece, error) {
	if fp.HighWatermark <= next || len(fp.Records) > 0 || fp.PreferredReplica >= 0 {
		return nil, nil
	}
	if !due {
		ses.table.starve(s)
		return nil, nil
	}
	if ses.table.countEmpty(s) < emptyLimit {
		return nil, nil
	}
	if !ses.isLocal(ctx, s, next) {
		ses.table.park(s, time.Now().Add(retryPause))
		return nil, nil
	}
	return []piece{ses.gap(s, next, fp.HighWatermark, manifest.GapEmpty, fp.LogStartOffset)}, nil
}

// isLocal says that the leader has an offset on its own disk, if it has it at
// all. What is in tiered storage looks empty while that storage is slow.
func (ses *session) isLocal(ctx context.Context, s *stream, offset int64) bool {
	local, ok := ses.ask(ctx, s, ses.Cluster.ListLocalStartOffsets)
	return ok && local <= offset
}

// ask asks the leader for an offset of the stream, which is possible by topic
// name only: it is ok if the name still stands for the stream's topic afterwards.
func (ses *session) ask(ctx context.Context, s *stream, list func(context.Context, []kafka.TopicPartition) ([]kafka.PartitionOffset, error)) (offset int64, ok bool) {
	answers, err := list(ctx, []kafka.TopicPartition{{Topic: s.topic, Partition: s.key.Partition}})
	if err != nil || answers[0].Err != nil {
		return 0, false
	}
	topics, err := ses.Cluster.Topics(ctx, []string{s.topic})
	return answers[0].Offset, err == nil && len(topics) == 1 && topics[0].Err == nil && topics[0].ID == s.key.TopicID
}

// gap advances a stream over offsets that cannot be read.
func (ses *session) gap(s *stream, from, to int64, reason manifest.GapReason, logStart int64) piece {
	ses.Log.Warn("gap", "topic", s.topic, "partition", s.key.Partition, "from", from, "to", to, "reason", reason.String())
	_, epoch := ses.table.position(s)
	ses.table.advance(s, to, epoch)
	p := newPiece(from)
	p.stream, p.gap, p.reason, p.logStart, p.sum.Next = s, true, reason, logStart, to
	return p
}

// fetchFailed deals with the error of one partition.
func (ses *session) fetchFailed(ctx context.Context, s *stream, err error) ([]piece, error) {
	switch {
	case errors.Is(err, kafka.ErrAuthorization) && s.topic == kafka.GroupLogTopic:
		return nil, ses.unreadableLog(err)
	case errors.Is(err, kafka.ErrAuthorization):
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	case errors.Is(err, kafka.ErrOffsetOutOfRange):
		return ses.outOfRange(ctx, s)
	case errors.Is(err, kafka.ErrTopicRecreated), errors.Is(err, kafka.ErrUnknownTopic):
		// Metadata will tell whether it is gone. Until then there is nothing to
		// ask for under this id.
		ses.table.park(s, time.Now().Add(ses.Config.MetadataEvery))
	case errors.Is(err, kafka.ErrRetriable), errors.Is(err, kafka.ErrNotLeader),
		errors.Is(err, kafka.ErrFencedLeaderEpoch), errors.Is(err, kafka.ErrUnknownLeaderEpoch):
		ses.table.park(s, time.Now().Add(retryPause))
	default:
		return nil, err
	}
	ses.Log.Debug("fetch partition", "topic", s.topic, "partition", s.key.Partition, "error", err)
	ses.refreshSoon()
	return nil, nil
}

// outOfRange finds out why the leader does not have the position.
func (ses *session) outOfRange(ctx context.Context, s *stream) ([]piece, error) {
	next, _ := ses.table.position(s)
	start, ok := ses.ask(ctx, s, ses.Cluster.ListStartOffsets)
	if ok && next < start {
		return []piece{ses.gap(s, next, start, manifest.GapRetention, start)}, nil
	}
	var end int64
	if ok {
		end, ok = ses.ask(ctx, s, ses.Cluster.ListEndOffsets)
	}
	if !ok || end >= next {
		// In range by now, or a new leader whose high watermark lags: ask again.
		ses.table.park(s, time.Now().Add(retryPause))
		ses.refreshSoon()
		return nil, nil
	}
	return nil, ses.diverged(s, start, math.MaxInt32, fmt.Sprintf("the leader's log ends at %d, below what has been captured", end))
}

// diverged ends the session: the source has rewritten offsets that were
// captured (unclean leader election). The next session captures them again, as
// a branch from offset on, or from below: only what was captured under an epoch
// up to the given one can be what the leader has.
func (ses *session) diverged(s *stream, from int64, epoch int32, why string) error {
	if from < 0 || from > math.MaxInt64-1 {
		from = 0
	}
	return &divergence{key: s.key, from: from, epoch: epoch, why: why}
}

// divergence is the error of a session that met rewritten offsets.
type divergence struct {
	key   manifest.StreamKey
	from  int64
	epoch int32
	why   string
}

func (d *divergence) Error() string {
	return fmt.Sprintf("the source has rewritten offsets from %d on (%s)", d.from, d.why)
}
