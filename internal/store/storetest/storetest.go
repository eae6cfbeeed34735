// Package storetest holds every implementation of store.Store to its contract.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
)

// PartSize is the size in bytes around which Run tests objects, because a store
// that uploads in parts uses it.
const PartSize = 8 << 20

// Run tests the stores that open returns, each of which must be empty and unlike
// the others. It leaves objects behind in them.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	tests := []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"empty store", testEmpty},
		{"sizes", testSizes},
		{"ranges", testRanges},
		{"replace", testReplace},
		{"readers", testReaders},
		{"failing readers", testFailingReaders},
		{"cancelled put", testCancelledPut},
		{"wrong checksum", testWrongChecksum},
		{"ended context", testEndedContext},
		{"if absent", testIfAbsent},
		{"if absent, large", testIfAbsentLarge},
		{"if absent, racers", testRacers},
		{"list", testList},
		{"list 1001 keys", testListPages},
		{"list stops", testListStops},
		{"delete", testDelete},
		{"delete many", testDeleteMany},
		{"odd keys", testOddKeys},
		{"invalid arguments", testInvalid},
		{"concurrent readers", testConcurrentReaders},
		{"concurrent use", testConcurrent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t)) })
	}
}

// Bytes returns n bytes that depend on seed and do not compress.
func Bytes(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	data := make([]byte, n)
	rand.NewChaCha8(key).Read(data) // never fails
	return data
}

func put(t *testing.T, s store.Store, key string, data []byte) {
	t.Helper()
	info, err := s.Put(t.Context(), key, bytes.NewReader(data), store.PutOptions{})
	if err != nil {
		t.Fatalf("Put(%q, %d bytes) = %v", key, len(data), err)
	}
	if info.Key != key || info.Size != int64(len(data)) {
		t.Errorf("Put(%q, %d bytes) = %+v", key, len(data), info)
	}
}

func get(s store.Store, key string, off, n int64) ([]byte, error) {
	body, err := s.Get(context.Background(), key, off, n)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(body)
	return data, errors.Join(err, body.Close())
}

func wantObject(t *testing.T, s store.Store, key string, want []byte) {
	t.Helper()
	got, err := get(s, key, 0, -1)
	if err != nil {
		t.Fatalf("Get(%q) = %v", key, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("Get(%q): got %d bytes that differ from the %d put", key, len(got), len(want))
	}
	info, err := s.Stat(t.Context(), key)
	if err != nil {
		t.Fatalf("Stat(%q) = %v", key, err)
	}
	if info.Key != key || info.Size != int64(len(want)) || info.Modified.IsZero() {
		t.Errorf("Stat(%q) = %+v, want %d bytes and a time", key, info, len(want))
	}
}

func wantAbsent(t *testing.T, s store.Store, key string) {
	t.Helper()
	if data, err := get(s, key, 0, -1); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("Get(%q) = %d bytes, %v, want ErrNotExist", key, len(data), err)
	}
	if info, err := s.Stat(t.Context(), key); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("Stat(%q) = %+v, %v, want ErrNotExist", key, info, err)
	}
	if keys := list(t, s, ""); slices.Contains(keys, key) {
		t.Errorf("List shows %q", key)
	}
}

func list(t *testing.T, s store.Store, prefix string) []string {
	t.Helper()
	keys := []string{}
	err := s.List(t.Context(), prefix, func(info store.Info) error {
		keys = append(keys, info.Key)
		return nil
	})
	if err != nil {
		t.Fatalf("List(%q) = %v", prefix, err)
	}
	return keys
}
