package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzStartOffsets: whatever a broker answers about share groups is refused, or are offsets of named partitions, each of which
// could be set again. It makes up the answer and not its bytes: kmsg takes a count of tagged fields for true that no bytes
// follow, and is busy for a minute.
func FuzzStartOffsets(f *testing.F) {
	f.Add(int16(0), "orders", int32(0), int64(0), int16(0), "orders", int32(1), int64(7), int16(3), true)
	f.Add(int16(0), "orders", int32(0), int64(5), int16(0), "bills", int32(0), int64(-1), int16(30), false)
	f.Add(int16(69), "", int32(-1), int64(-1), int16(-1), "", int32(-1), int64(1<<62), int16(0), false)
	f.Fuzz(func(t *testing.T, code int16, topic string, partition int32, offset int64, partitionCode int16, topic2 string, partition2 int32, offset2 int64, partitionCode2 int16, maybeNew bool) {
		g := kmsg.DescribeShareGroupOffsetsResponseGroup{GroupID: "sharers", ErrorCode: code, Topics: []kmsg.DescribeShareGroupOffsetsResponseGroupTopic{
			{Topic: topic, Partitions: []kmsg.DescribeShareGroupOffsetsResponseGroupTopicPartition{
				{Partition: partition, StartOffset: offset, ErrorCode: partitionCode}, {Partition: partition2, StartOffset: offset2}}},
			{Topic: topic2, Partitions: []kmsg.DescribeShareGroupOffsetsResponseGroupTopicPartition{
				{Partition: partition2, StartOffset: offset2, ErrorCode: partitionCode2}}},
		}}
		offsets, err := startOffsets(&g, maybeNew)
		if (offsets == nil) == (err == nil) {
			t.Fatalf("got %v, %v", offsets, err)
		}
		for _, o := range offsets {
			if o.Offset < 0 {
				t.Errorf("a start offset of %d", o.Offset)
			}
		}
		req, left := encodeStartOffsets(g.GroupID, offsets)
		n := 0
		for _, topic := range req.Topics {
			n += len(topic.Partitions)
		}
		if n != len(offsets) || len(left) > n {
			t.Errorf("%d of %d offsets would be set", n, len(offsets))
		}
	})
}
