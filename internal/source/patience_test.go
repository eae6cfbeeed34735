package source

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

// stumble fails requests of several kinds once, with what a cluster answers
// while it is busy with itself.
func stumble(f *kfake.Cluster) {
	const code = 7 // REQUEST_TIMED_OUT
	once := func(key kmsg.Key, answer func(kmsg.Request) kmsg.Response) {
		f.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) { return answer(req), nil, true })
	}
	once(kmsg.InitProducerID, func(req kmsg.Request) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ErrorCode = code
		return resp
	})
	once(kmsg.OffsetCommit, func(req kmsg.Request) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, asked := range req.(*kmsg.OffsetCommitRequest).Topics {
			topic := kmsg.NewOffsetCommitResponseTopic()
			topic.Topic = asked.Topic
			for _, p := range asked.Partitions {
				topic.Partitions = append(topic.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: code})
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp
	})
	once(kmsg.IncrementalAlterConfigs, func(req kmsg.Request) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
		for _, asked := range req.(*kmsg.IncrementalAlterConfigsRequest).Resources {
			r := kmsg.NewIncrementalAlterConfigsResponseResource()
			r.ResourceType, r.ResourceName, r.ErrorCode = asked.ResourceType, asked.ResourceName, code
			resp.Resources = append(resp.Resources, r)
		}
		return resp
	})
}

// A broker that dies at the start or at the end of a restore does not end it.
func TestPatience(t *testing.T) {
	t.Parallel()
	repo := firstDayRepository(t)
	restore := func(patience time.Duration) (*kafka.Cluster, *Result, error) {
		f := fake(t)
		stumble(f)
		cluster := connect(t, f)
		res, err := (&Runner{Cluster: cluster, Log: quiet, Patience: patience}).Run(t.Context(), prepareOrders(t, repo, cluster, false))
		return cluster, res, err
	}
	if _, _, err := restore(0); !errors.Is(err, kafka.ErrRetriable) {
		t.Fatalf("without patience: %v", err)
	}
	cluster, res, err := restore(time.Minute)
	if err != nil || !res.Complete() || res.Topics[0].Kept != 6 {
		t.Fatalf("got %+v, %v", res, err)
	}
	readersAt(t, cluster, 3)
}

func TestPatienceEnds(t *testing.T) {
	calls := 0
	for _, tc := range []struct {
		limit time.Duration
		err   error
		want  int
	}{{time.Minute, nil, 1}, {time.Minute, errForeignState, 1}, {0, kafka.ErrRetriable, 1}, {patiencePause / 2, kafka.ErrRetriable, 2}} {
		calls = 0
		err := Patience{tc.limit, quiet}.Do(t.Context(), "", func() error { calls++; return tc.err })
		if !errors.Is(err, tc.err) || calls != tc.want {
			t.Errorf("%v for %s: %d calls, %v, want %d", tc.err, tc.limit, calls, err, tc.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := Patience{time.Hour, quiet}.Do(ctx, "", func() error { cancel(); return kafka.ErrRetriable })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
