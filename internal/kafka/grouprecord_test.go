package kafka_test

import (
	"testing"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestParseGroupRecord(t *testing.T) {
	commitKey := (&kmsg.OffsetCommitKey{Version: 1, Group: "g", Topic: "t", Partition: 3}).AppendTo(nil)
	groupKey := func(version int16) []byte {
		return (&kmsg.GroupMetadataKey{Version: version, Group: "g"}).AppendTo(nil)
	}
	commit := func(version int16) []byte {
		return (&kmsg.OffsetCommitValue{Version: version, Offset: 9, LeaderEpoch: 2, Metadata: "m", TopicID: [16]byte{1}}).AppendTo(nil)
	}
	offset := kafka.GroupOffset{Topic: "t", Partition: 3, Offset: 9, LeaderEpoch: 2, Metadata: "m"}
	endless := (&kmsg.GroupMetadataValue{Version: 4, ProtocolType: "connect"}).AppendTo(nil)
	endless = append(endless[:len(endless)-1], 0xff, 0xff, 0xff, 0xff, 0x0f) // what follows are 2^32-1 tagged fields, it says
	endlessCommit := commit(4)
	tags := append([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, endlessCommit[len(endlessCommit)-18:]...)
	endlessCommit = append(endlessCommit[:len(endlessCommit)-19], tags...)
	old := offset
	old.LeaderEpoch = -1
	for _, test := range []struct {
		name       string
		key, value []byte
		want       kafka.GroupRecord
		ok         bool
	}{
		{"commit with a topic id", commitKey, commit(4), kafka.GroupRecord{Group: "g", Commit: offset, TopicID: kafka.TopicID{1}}, true},
		{"commit with an epoch", commitKey, commit(3), kafka.GroupRecord{Group: "g", Commit: offset}, true},
		{"commit of an old broker", commitKey, commit(1), kafka.GroupRecord{Group: "g", Commit: old}, true},
		{"commit taken back", commitKey, nil, kafka.GroupRecord{Group: "g", Gone: true, Commit: kafka.GroupOffset{Topic: "t", Partition: 3, LeaderEpoch: -1}}, true},
		{"classic group", groupKey(2), (&kmsg.GroupMetadataValue{Version: 3, ProtocolType: "connect"}).AppendTo(nil), kafka.GroupRecord{Group: "g", Type: "classic", ProtocolType: "connect"}, true},
		{"classic group of a new broker", groupKey(2), (&kmsg.GroupMetadataValue{Version: 4, ProtocolType: "consumer"}).AppendTo(nil), kafka.GroupRecord{Group: "g", Type: "classic", ProtocolType: "consumer"}, true},
		{"classic group with more fields than there are bytes", groupKey(2), endless, kafka.GroupRecord{Group: "g", Type: "classic", ProtocolType: "connect"}, true},
		{"classic group, gone", groupKey(2), nil, kafka.GroupRecord{Group: "g", Gone: true, Type: "classic"}, true},
		{"consumer group", groupKey(3), []byte{0, 0, 0, 0, 0, 7}, kafka.GroupRecord{Group: "g", Type: "consumer", ProtocolType: "consumer"}, true},
		{"streams group", groupKey(17), []byte{0, 0, 0, 0, 0, 7}, kafka.GroupRecord{Group: "g", Type: "streams", ProtocolType: "streams"}, true},
		{"member", groupKey(5), []byte{0, 0}, kafka.GroupRecord{}, false},
		{"something of a later version", []byte{9, 9, 1, 2, 3}, []byte{1}, kafka.GroupRecord{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok, err := kafka.ParseGroupRecord(test.key, test.value)
			if err != nil || ok != test.ok || got != test.want {
				t.Errorf("got %+v, %v, %v\nwant %+v, %v", got, ok, err, test.want, test.ok)
			}
		})
	}
	for name, bad := range map[string][2][]byte{
		"no key":                    {nil, nil},
		"key ends early":            {commitKey[:6], commit(3)},
		"value ends early":          {commitKey, commit(3)[:7]},
		"value of a later version":  {commitKey, commit(5)},
		"more fields than bytes":    {commitKey, endlessCommit},
		"classic group, ends early": {groupKey(2), []byte{0, 3, 0}},
		"group without a name":      {[]byte{0, 3}, nil},
		"commit without a topic":    {(&kmsg.OffsetCommitKey{Version: 1, Group: "g"}).AppendTo(nil), nil},
	} {
		if r, ok, err := kafka.ParseGroupRecord(bad[0], bad[1]); err == nil {
			t.Errorf("%s: read as %+v, %v", name, r, ok)
		}
	}
}

func FuzzParseGroupRecord(f *testing.F) {
	f.Add((&kmsg.OffsetCommitKey{Version: 1, Group: "g", Topic: "t"}).AppendTo(nil), (&kmsg.OffsetCommitValue{Version: 4, Offset: 9}).AppendTo(nil))
	f.Add((&kmsg.OffsetCommitKey{Version: 1, Group: "g", Topic: "t"}).AppendTo(nil), (&kmsg.OffsetCommitValue{Version: 4, Offset: 9, TopicID: [16]byte{1}}).AppendTo(nil))
	f.Add((&kmsg.GroupMetadataKey{Version: 2, Group: "g"}).AppendTo(nil), (&kmsg.GroupMetadataValue{Version: 3}).AppendTo(nil))
	f.Add((&kmsg.GroupMetadataKey{Version: 2, Group: "g"}).AppendTo(nil), []byte{0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r, ok, err := kafka.ParseGroupRecord(key, value)
		if ok && (err != nil || r.Commit.Topic == "" && r.Type == "") {
			t.Errorf("read as %+v, %v", r, err)
		}
	})
}
