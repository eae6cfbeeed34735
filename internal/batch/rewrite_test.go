package batch_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
)

func TestRewrite(t *testing.T) {
	b := plain(3)
	b.ProducerID, b.ProducerEpoch, b.FirstSequence = 1000, 5, 77
	b.Attributes = 0x10 | 0x40 | 0x08
	raw := encode(b)
	batch.Rewrite(raw, batch.ProducerIdentity{ID: 42, Epoch: 1, Sequence: 1234})

	got, _, _ := mustNext(t, raw)
	want := got
	want.BaseOffset, want.LeaderEpoch, want.Attributes = 0, -1, 0x08
	want.ProducerID, want.ProducerEpoch, want.BaseSequence = 42, 1, 1234
	want.LastOffsetDelta, want.Count = 2, 3
	want.BaseTimestamp, want.MaxTimestamp = b.FirstTimestamp, b.MaxTimestamp
	if got != want {
		t.Errorf("header\n got %+v\nwant %+v", got, want)
	}
	if !bytes.Equal(raw[batch.HeaderSize:], b.Records) {
		t.Error("payload changed")
	}
}

func TestRewriteWithoutIdempotence(t *testing.T) {
	raw := encode(plain(1))
	batch.Rewrite(raw, batch.ProducerIdentity{ID: -1, Epoch: -1, Sequence: -1})
	h, _, _ := mustNext(t, raw)
	if h.ProducerID != -1 || h.ProducerEpoch != -1 || h.BaseSequence != -1 {
		t.Errorf("got %+v", h)
	}
}

// markerBatch returns a control batch as a transaction coordinator writes it.
func markerBatch(key, value []byte) kmsg.RecordBatch {
	b := plain(1)
	b.Attributes = 0x30
	b.ProducerID, b.ProducerEpoch = 9, 2
	b.Records = encodeRecords(kmsg.Record{Key: key, Value: value})
	return b
}

func TestMarker(t *testing.T) {
	for name, tc := range map[string]struct {
		key, value []byte
		want       batch.Control
	}{
		"abort":         {[]byte{0, 0, 0, 0}, []byte{0, 0, 0, 0, 0, 8}, batch.Control{Type: batch.Abort, CoordinatorEpoch: 8}},
		"commit":        {[]byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 1, 0}, batch.Control{Type: batch.Commit, CoordinatorEpoch: 256}},
		"newer version": {[]byte{0, 1, 0, 1, 9}, []byte{0, 1, 0, 0, 0, 3, 0, 2, 0}, batch.Control{Type: batch.Commit, CoordinatorEpoch: 3}},
		"leader change": {[]byte{0, 0, 0, 2}, nil, batch.Control{Type: 2, CoordinatorEpoch: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := batch.Marker(encode(markerBatch(tc.key, tc.value)))
			if err != nil || got != tc.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
}

func TestMarkerRefuses(t *testing.T) {
	commit, value := []byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 8}
	edit := func(f func(*kmsg.RecordBatch)) []byte {
		b := markerBatch(commit, value)
		f(&b)
		return encode(b)
	}
	for name, raw := range map[string][]byte{
		"data batch":       encode(plain(1)),
		"null key":         encode(markerBatch(nil, value)),
		"short key":        encode(markerBatch(commit[:3], value)),
		"null value":       encode(markerBatch(commit, nil)),
		"short value":      encode(markerBatch(commit, value[:5])),
		"no payload":       edit(func(b *kmsg.RecordBatch) { b.Records = nil }),
		"record too long":  edit(func(b *kmsg.RecordBatch) { b.Records[0] += 2 }),
		"negative length":  edit(func(b *kmsg.RecordBatch) { b.Records[0] = 1 }),
		"malformed record": edit(func(b *kmsg.RecordBatch) { b.Records[4] += 2 }),
		"compressed":       edit(func(b *kmsg.RecordBatch) { b.Attributes |= 4 }),
		"cut":              append(encode(markerBatch(commit, value)), 0),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := batch.Marker(raw)
			var corrupt *batch.CorruptError
			if !errors.As(err, &corrupt) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	t.Run("not a header", func(t *testing.T) {
		if _, err := batch.Marker(nil); !errors.Is(err, batch.ErrCut) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("emptied by compaction", func(t *testing.T) {
		_, err := batch.Marker(edit(func(b *kmsg.RecordBatch) { b.Records, b.NumRecords = nil, 0 }))
		if !errors.Is(err, batch.ErrNoMarker) {
			t.Errorf("got %v", err)
		}
	})
}
