package manifest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// snapshotObject frames a body as the snapshot after entry 1000 of repository 0.
func snapshotObject(codec, raw uint32, stored []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte("OFSNAP\x00\x01"), 1000)
	b = append(b, make([]byte, 32+16+16+8)...)
	b = binary.BigEndian.AppendUint32(b, codec)
	b = binary.BigEndian.AppendUint32(b, raw)
	b = binary.BigEndian.AppendUint32(b, uint32(len(stored)))
	return seal(append(b, stored...))
}

func plainSnapshot(body []byte) []byte { return snapshotObject(0, uint32(len(body)), body) }

// TestHostileSnapshotIsCheap: counts, lengths and content sizes are claims.
func TestHostileSnapshotIsCheap(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	bomb := enc.EncodeAll(make([]byte, manifest.MaxBody), nil)
	cases := map[string][]byte{
		"a bomb":                  snapshotObject(1, 100, bomb),
		"a bomb above the limit":  snapshotObject(1, manifest.MaxBody+1, enc.EncodeAll(make([]byte, manifest.MaxBody+1), nil)),
		"a second frame":          snapshotObject(1, 100, join(enc.EncodeAll(make([]byte, 100), nil), bomb)),
		"a claim without content": snapshotObject(1, manifest.MaxBody, append(binary.LittleEndian.AppendUint32([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0}, manifest.MaxBody), 1, 0, 0)),
	}
	for _, kind := range []byte{2, 3, 7, 9, 11, 65, 69, 70, 71, 72} {
		name := string(rune('0' + kind))
		cases["count of section "+name] = plainSnapshot(section(kind, uv(1<<62)))
		cases["large count of section "+name] = plainSnapshot(section(kind, uv(1<<30), make([]byte, 100)))
	}
	for name, b := range cases {
		var err error
		cost := allocated(func() { _, err = manifest.DecodeSnapshot(b, manifest.ID{}) })
		if err == nil || cost > affordable {
			t.Errorf("%s: %d bytes are allocated for %d, error %v", name, cost, len(b), err)
		}
	}
}

// FuzzSnapshot: what decodes is the only encoding of a state.
func FuzzSnapshot(f *testing.F) {
	st := mem.New()
	for seed := range uint64(6) {
		randomLog(f, st, seed, 8, func(uint64) bool { return false })
		s, err := open(f, st).Read(f.Context(), 0, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(s.SnapshotBody())
		st = mem.New()
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var s *manifest.State
		var err error
		if cost := allocated(func() { s, err = manifest.DecodeSnapshot(plainSnapshot(body), manifest.ID{}) }); cost > affordable+32*uint64(len(body)) {
			t.Errorf("%d bytes are allocated for %d", cost, len(body))
		}
		if err != nil {
			return
		}
		again := s.SnapshotBody()
		if rest, ok := bytes.CutPrefix(body, again); !ok || len(rest) > 0 && rest[0] < 130 {
			t.Errorf("% x\nis encoded as\n% x", body, again)
		}
	})
}

// FuzzDescriptor: a descriptor is one, or damaged, or of a newer version.
func FuzzDescriptor(f *testing.F) {
	f.Add(descriptor("1", someID, "MkU3OEVBNTcwNTJENDM2Qg", someTime))
	f.Add(descriptor("2", someID, "c", someTime))
	f.Add([]byte("{\n  \"format\": 1,\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		st := mem.New()
		put(t, st, manifest.RepositoryKey, b)
		r, err := manifest.Open(t.Context(), st)
		if (r == nil) == (err == nil) || err != nil && !errors.Is(err, manifest.ErrDamaged) && !errors.Is(err, manifest.ErrVersion) {
			t.Errorf("got %v, %v", r, err)
		}
	})
}
