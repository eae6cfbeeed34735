package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"io"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// A footer that is wrong about its blocks, by whatever fault of the writer, is
// consistent in all of its digests.
func TestVerifyRecountsFooters(t *testing.T) {
	for name, forge := range map[string]func(*segment.Block){
		"event left out":  func(k *segment.Block) { k.Events = k.Events[1:] },
		"abort as commit": func(k *segment.Block) { k.Events[len(k.Events)-1].Kind ^= 3 },
		"event of nobody": func(k *segment.Block) {
			k.Events = append(k.Events, segment.TxnEvent{Offset: k.Next - 1, ProducerID: 99})
		},
		"plain":              func(k *segment.Block) { k.Plain = true },
		"timestamp":          func(k *segment.Block) { k.MinTimestamp-- },
		"leader epoch":       func(k *segment.Block) { k.LeaderEpoch++ },
		"nothing (the test)": func(*segment.Block) {},
	} {
		t.Run(name, func(t *testing.T) {
			repo := forged(t, firstDayRepository(t), forge)
			report, err := Verify(t.Context(), repo, Scope{Level: manifest.LevelDecode}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if (len(report.Damages) == 0) != (name == "nothing (the test)") {
				t.Errorf("damages %v", report.Damages)
			}
		})
	}
}

// forged writes the repository anew, with the footers' blocks that hold
// transactions changed.
func forged(t *testing.T, old *manifest.Repository, forge func(*segment.Block)) *manifest.Repository {
	t.Helper()
	repo, err := manifest.OpenOrCreate(t.Context(), mem.New(), old.ClusterID, firstTime)
	if err != nil {
		t.Fatal(err)
	}
	log, err := repo.OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = old.Read(t.Context(), 0, func(_ *manifest.State, e *manifest.Entry) error {
		for i := range e.Segments {
			key := manifest.SegmentKey(e.Writer, e.Segments[i].Counter)
			body, err := old.Store().Get(t.Context(), key, 0, -1)
			if err != nil {
				return err
			}
			object, err := io.ReadAll(body)
			if err != nil {
				return err
			}
			object = forgeSegment(t, object, &e.Segments[i].Ref, forge)
			key = manifest.SegmentKey(log.Writer(), e.Segments[i].Counter)
			if _, err := repo.Store().Put(t.Context(), key, bytes.NewReader(object), store.PutOptions{}); err != nil {
				return err
			}
		}
		_, err := log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return e, nil })
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func forgeSegment(t *testing.T, object []byte, ref *segment.Ref, forge func(*segment.Block)) []byte {
	t.Helper()
	footer, err := ref.Open(object[ref.Size-ref.TailLength():])
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range footer.InFileOrder() {
		if len(l.Block.Events) > 0 {
			forge(l.Block)
		}
	}
	b := footer.Append(nil)
	object = append(bytes.Clone(object[:ref.Size-ref.TailLength()]), b...)
	object = binary.BigEndian.AppendUint32(object, uint32(len(b)))
	object = binary.BigEndian.AppendUint32(object, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	object = append(object, "OFSEND\x00\x01"...)
	*ref = segment.Ref{Size: int64(len(object)), FooterLength: int64(len(b)), FooterDigest: sha256.Sum256(b)}
	return object
}
