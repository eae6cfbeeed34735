package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzStartOffsets: whatever a broker answers about share groups is refused, or are offsets of named partitions, each of which
// could be set again.
func FuzzStartOffsets(f *testing.F) {
	r := kmsg.NewPtrDescribeShareGroupOffsetsResponse()
	g := kmsg.NewDescribeShareGroupOffsetsResponseGroup()
	g.GroupID = "sharers"
	topic := kmsg.NewDescribeShareGroupOffsetsResponseGroupTopic()
	topic.Topic = "orders"
	for i, code := range []int16{0, 3, 30} {
		p := kmsg.NewDescribeShareGroupOffsetsResponseGroupTopicPartition()
		p.Partition, p.StartOffset, p.ErrorCode = int32(i), int64(7*i), code
		topic.Partitions = append(topic.Partitions, p)
	}
	g.Topics = append(g.Topics, topic)
	r.Groups = append(r.Groups, g)
	f.Add(r.AppendTo(nil), true)
	r.Groups[0].ErrorCode = 69
	f.Add(r.AppendTo(nil), false)
	f.Fuzz(func(t *testing.T, b []byte, maybeNew bool) {
		answer := kmsg.NewPtrDescribeShareGroupOffsetsResponse()
		if answer.ReadFrom(b) != nil {
			return
		}
		for i := range answer.Groups {
			offsets, err := startOffsets(&answer.Groups[i], maybeNew)
			if (offsets == nil) == (err == nil) {
				t.Fatalf("got %v, %v", offsets, err)
			}
			for _, o := range offsets {
				if o.Offset < 0 {
					t.Errorf("a start offset of %d", o.Offset)
				}
			}
			req, left := encodeStartOffsets(answer.Groups[i].GroupID, offsets)
			n := 0
			for _, topic := range req.Topics {
				n += len(topic.Partitions)
			}
			if n != len(offsets) || len(left) > n {
				t.Errorf("%d of %d offsets would be set", n, len(offsets))
			}
		}
	})
}
