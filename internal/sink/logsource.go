package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// GroupCapture says how group offsets get to be known.
type GroupCapture string

// The ways to know group offsets.
const (
	GroupsAuto GroupCapture = "auto" // as a log where it may be read, else by polling
	GroupsLog  GroupCapture = "log"
	GroupsPoll GroupCapture = "poll"
)

// captures says whether a topic of the cluster is captured.
func (o *observer) captures(ctx context.Context, t *kafka.Topic) (bool, error) {
	if t.Name == kafka.GroupLogTopic {
		return o.capturesLog(ctx, t)
	}
	return !t.Internal && o.ses.Config.Topics.Match(t.Name), nil
}

// capturesLog says whether the log of groups is captured. Whether it may be read
// is tried once.
func (o *observer) capturesLog(ctx context.Context, t *kafka.Topic) (bool, error) {
	mode := o.ses.Config.Groups
	if mode == GroupsPoll || o.ses.logRefused != nil {
		return false, nil
	}
	if o.logTried {
		return true, nil
	}
	err := o.checkReadable(ctx, []kafka.Topic{*t})
	if mode != GroupsLog && errors.Is(err, ErrUnreadable) {
		o.ses.refuseLog(err)
		return false, nil
	}
	o.logTried = err == nil
	return err == nil, err
}

// pollsInstead says whether the capture can go on without the log of groups.
func (s *Sink) pollsInstead(why error) bool {
	if s.Config.Groups == GroupsLog {
		return false
	}
	s.refuseLog(why)
	return true
}

// unreadableLog is the error of a right that was taken away. Where group offsets
// may be polled instead, the session ends with it, and the next one does.
func (s *Sink) unreadableLog(err error) error {
	if s.Config.Groups == GroupsAuto {
		return fmt.Errorf("%w: %w", errGroupLog, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnreadable, kafka.GroupLogTopic, err)
}

// refuseLog has group offsets polled from now on, by every session that is yet to come, too.
func (s *Sink) refuseLog(why error) {
	s.logRefused = why
	s.Log.Warn("group offsets are polled, since their log cannot be captured: after a restore, an exactly-once application may do again what it did in the moment before", "reason", why)
}

// checkLog asks whether the log of groups may be seen. A cluster in which no group
// has ever committed has none yet.
func (o *observer) checkLog(ctx context.Context) error {
	if o.ses.Config.Groups == GroupsPoll || o.ses.logRefused != nil {
		return nil
	}
	answers, err := o.ses.Cluster.Topics(ctx, []string{kafka.GroupLogTopic})
	if err != nil {
		return fmt.Errorf("look up %s: %w", kafka.GroupLogTopic, err)
	}
	err = answers[0].Err
	switch {
	case !errors.Is(err, kafka.ErrAuthorization):
		return nil
	case o.ses.Config.Groups == GroupsAuto:
		o.ses.refuseLog(err)
		return nil
	}
	return fmt.Errorf("%w: %s: %w: allow it, or set groups.capture to auto", ErrUnreadable, kafka.GroupLogTopic, err)
}

// log returns the topic of the log of groups if it is being captured, or nil.
func (o *observer) log() *observed {
	for _, t := range o.topics {
		if t.topic.Name == kafka.GroupLogTopic && t.missing == 0 && len(t.topic.Partitions) > 0 {
			return t
		}
	}
	return nil
}

// followsLog says whether group offsets are known from their log.
func (o *observer) followsLog() bool {
	t := o.log()
	if t == nil {
		return false
	}
	for _, p := range t.topic.Partitions {
		if o.ses.table.get(manifest.StreamKey{TopicID: t.topic.ID, Partition: p.Index}) == nil {
			return false
		}
	}
	return true
}

// logMarks reads the high watermarks of the log of groups.
func (o *observer) logMarks(ctx context.Context) (marks, error) {
	t := o.log()
	if t == nil {
		return nil, fmt.Errorf("%w: %s is not there any more", kafka.ErrRetriable, kafka.GroupLogTopic)
	}
	offsets, err := offsetsOf(ctx, []*observed{t}, o.ses.Cluster.ListHighWatermarks)
	if err != nil {
		return nil, fmt.Errorf("list high watermarks: %w", err)
	}
	return offsets, nil
}

// logReader reads again what has been captured of one partition of the log of
// groups, from the source, which keeps what is in force.
type logReader struct {
	topic     *kafka.Topic
	part      *kafka.Partition
	next, end int64
}

// loadBytes is what is asked of a broker at once when the log is read again.
const loadBytes = 4 << 20

// resumeLog goes on with the capture of the log of groups, once it has been read
// again. Meanwhile, the other topics are captured.
// It is read from its beginning up to the positions from which its capture goes
// on: what is in force there, and which transactions are open. Kafka's
// coordinators do the same when they begin.
func (o *observer) resumeLog(ctx context.Context) error {
	list, ses := o.logs, o.ses
	parts := make([]kafka.TopicPartition, len(list))
	for i, r := range list {
		parts[i] = kafka.TopicPartition{Topic: r.topic.Name, Partition: r.part.Index}
	}
	starts, err := ses.Cluster.ListStartOffsets(ctx, parts)
	if err != nil {
		return fmt.Errorf("list log start offsets: %w", err)
	}
	fetcher, err := ses.Cluster.NewFetcher()
	if err != nil {
		return err
	}
	defer fetcher.Close()
	var failed error // the others go on all the same
	for i, r := range list {
		r.next = starts[i].Offset
		err := starts[i].Err
		if err == nil {
			err = ses.load(ctx, fetcher, r)
		}
		if err != nil {
			failed = fmt.Errorf("read %s-%d again: %w", r.topic.Name, r.part.Index, err)
			continue
		}
		st := o.resume[manifest.StreamKey{TopicID: r.topic.ID, Partition: r.part.Index}]
		ses.resumeStream(r.topic, r.part, &st)
	}
	return failed
}

// load reads one partition. It ends early where the leader has less than was
// captured, which the fetch loop will notice.
func (ses *session) load(ctx context.Context, fetcher *kafka.Fetcher, r *logReader) error {
	if r.part.Leader < 0 {
		return fmt.Errorf("%w: it has no leader", kafka.ErrRetriable)
	}
	key := manifest.StreamKey{TopicID: r.topic.ID, Partition: r.part.Index}
	ses.groups.forget(key) // an attempt before may have ended in the middle of a transaction
	for empty := 0; r.next < r.end && empty < emptyLimit; {
		resp, err := fetcher.Fetch(ctx, r.part.Leader, kafka.FetchRequest{MaxBytes: loadBytes, Partitions: []kafka.FetchPartition{{
			Topic: r.topic.Name, TopicID: r.topic.ID, Partition: r.part.Index, Offset: r.next, LeaderEpoch: r.part.LeaderEpoch, LastFetchedEpoch: -1, MaxBytes: loadBytes,
		}}})
		if err != nil {
			return err
		}
		if len(resp.Partitions) == 0 || resp.Throttle > 0 {
			wait(ctx, nil, max(resp.Throttle, retryPause))
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		fp := &resp.Partitions[0]
		switch {
		case errors.Is(fp.Err, kafka.ErrAuthorization):
			return ses.unreadableLog(fp.Err)
		case fp.Err != nil:
			return fmt.Errorf("%w: %w", kafka.ErrRetriable, fp.Err) // its leader changes, or it is made again: the next look at the topics tells
		}
		if fp.HighWatermark <= r.next {
			return nil
		}
		before := r.next
		if err := r.take(ses.groups, key, fp.Records); err != nil {
			return err
		}
		if empty++; r.next > before {
			empty = 0
		}
	}
	return nil
}

// take hands on the whole batches up to the end.
func (r *logReader) take(groups *groupLog, key manifest.StreamKey, raw []byte) error {
	from := r.next
	rest := raw
	for len(rest) > 0 {
		h, _, after, err := batch.Next(rest)
		if errors.Is(err, batch.ErrCut) {
			break
		}
		if err != nil {
			return err
		}
		if h.BaseOffset >= r.end {
			r.next = r.end
			break
		}
		r.next, rest = h.NextOffset(), after
	}
	groups.take(key, raw[:len(raw)-len(rest)], from, nil)
	return nil
}
