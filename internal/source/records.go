package source

import (
	"context"
	"sync"

	"github.com/offsite-kafka/offsite/internal/batch"
)

// EachRecord calls fn with every record that the plan brings back, without
// producing anything: it reads the repository only. Records of one partition
// come in order; their offsets count from 0, where the restore would begin to
// write. fn is called by one goroutine at a time, and the record is borrowed.
func (p *Plan) EachRecord(ctx context.Context, fn func(t *TopicPlan, partition int32, r *batch.Record) error) error {
	var mu sync.Mutex
	decoder := batch.NewDecoder()
	converters := p.newConverters(func(t *track) emit {
		var next int64
		return func(raw []byte, _ int32, _ *buffer) error {
			mu.Lock()
			defer mu.Unlock()
			return decoder.Decode(raw, func(r *batch.Record) error {
				r.Offset = next
				next++
				return fn(p.Topics[t.topic], t.partition, r)
			})
		}
	})
	return p.replay(ctx, converters)
}
