//go:build e2e

package e2e_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/storeurl"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// storedBatches returns the batches that the repository holds of a partition, one after another.
func storedBatches(t testing.TB, r *repository, topic string, partition int32) []byte {
	t.Helper()
	for _, pair := range r.env {
		name, value, _ := bytes.Cut([]byte(pair), []byte("="))
		t.Setenv(string(name), string(value))
	}
	st, err := storeurl.Open(t.Context(), r.url, storeurl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	_, err = repo.Read(t.Context(), 0, func(_ *manifest.State, e *manifest.Entry) error {
		for _, s := range e.Segments {
			all = append(all, batchesIn(t, st, manifest.SegmentKey(e.Writer, s.Counter), s.Ref, topic, partition)...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// batchesIn returns what one segment holds of a partition.
func batchesIn(t testing.TB, st store.Store, key string, ref segment.Ref, topic string, partition int32) []byte {
	t.Helper()
	body, err := st.Get(t.Context(), key, 0, ref.Size)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	object, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	footer, err := ref.Open(object[int64(len(object))-ref.TailLength():])
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	decoder, err := segment.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for i := range footer.Streams {
		s := &footer.Streams[i]
		if s.Topic != topic || s.Partition != partition {
			continue
		}
		for j := range s.Blocks {
			k := &s.Blocks[j]
			raw, err := decoder.Decode(k, object[k.Position:k.Position+k.StoredLength], nil)
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			all = append(all, raw...)
		}
	}
	return all
}

// segmentFiles returns a partition's segment files on broker 0, the active one last.
func segmentFiles(t testing.TB, c *cluster.Cluster, topic string, partition int32) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(c.PartitionDir(0, topic, partition), "*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("segment files of %s-%d: %v, %v", topic, partition, files, err)
	}
	slices.Sort(files) // named by base offset, with leading zeros
	return files
}

// brokerBatches returns the bytes in a partition's segment files on broker 0.
func brokerBatches(t testing.TB, c *cluster.Cluster, topic string, partition int32) []byte {
	t.Helper()
	var all []byte
	for _, f := range segmentFiles(t, c, topic, partition) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// requireVerbatim fails the test unless the repository holds of a partition exactly the bytes that the broker has.
func requireVerbatim(t testing.TB, r *repository, c *cluster.Cluster, topic string, partition int32) {
	t.Helper()
	stored, served := storedBatches(t, r, topic, partition), brokerBatches(t, c, topic, partition)
	if bytes.Equal(stored, served) {
		return
	}
	at := 0
	for at < min(len(stored), len(served)) && stored[at] == served[at] {
		at++
	}
	t.Errorf("%s-%d: %d bytes are stored, the broker has %d; they differ from byte %d on", topic, partition, len(stored), len(served), at)
}
