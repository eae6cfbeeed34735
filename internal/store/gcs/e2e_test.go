//go:build e2e

package gcs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/gcs"
	"github.com/offsite-kafka/offsite/internal/store/storetest"
	"github.com/offsite-kafka/offsite/test/bed/fakegcs"
)

// setEnv makes the process a client of server.
func setEnv(t *testing.T, server *fakegcs.Server) {
	for _, entry := range server.Env() {
		key, value, _ := strings.Cut(entry, "=")
		t.Setenv(key, value)
	}
}

func TestConformance(t *testing.T) {
	setEnv(t, fakegcs.Start(t))
	var n atomic.Int64
	storetest.Run(t, func(t *testing.T) store.Store {
		s, err := gcs.Open(fakegcs.Bucket, fmt.Sprintf("prefix %d/Repository", n.Add(1)), gcs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// At the root of a bucket there is nothing to tell one store from another.
func TestConformanceWithoutPrefix(t *testing.T) {
	server := fakegcs.Start(t)
	setEnv(t, server)
	var n atomic.Int64
	storetest.Run(t, func(t *testing.T) store.Store {
		bucket := fmt.Sprintf("bucket-%d", n.Add(1))
		if err := server.CreateBucket(t.Context(), bucket); err != nil {
			t.Fatal(err)
		}
		s, err := gcs.Open(bucket, "", gcs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// That the server compares the whole of what came in parts with its checksum, as
// GCS does, only TestChecksums can tell: this one does not look at it.
func TestAlteredContent(t *testing.T) {
	server := fakegcs.Start(t)
	storetest.RunAltered(t, server.Endpoint(), func(t *testing.T, endpoint string) store.Store {
		t.Setenv("STORAGE_EMULATOR_HOST", endpoint)
		s, err := gcs.Open(fakegcs.Bucket, "altered", gcs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, 1000, gcs.PartSize)
}

// Data has the storage class, what else there is has that of the bucket.
func TestStorageClass(t *testing.T) {
	server := fakegcs.Start(t)
	setEnv(t, server)
	s, err := gcs.Open(fakegcs.Bucket, "classes", gcs.Options{
		Class: "NEARLINE", Sorting: store.Sorting{Bulk: func(key string) bool { return strings.HasPrefix(key, "data/") }},
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, size := range map[string]int{"data/1": 10, "data/2": gcs.PartSize + 1, "log/1": 10} {
		if _, err := s.Put(t.Context(), key, bytes.NewReader(make([]byte, size)), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		resp, err := http.Get(server.Endpoint() + "/storage/v1/b/" + fakegcs.Bucket + "/o/" + url.PathEscape("classes/"+key))
		if err != nil {
			t.Fatal(err)
		}
		var attrs struct{ StorageClass string }
		if err := json.NewDecoder(resp.Body).Decode(&attrs); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if want := strings.HasPrefix(key, "data/"); (attrs.StorageClass == "NEARLINE") != want {
			t.Errorf("%s has the class %q", key, attrs.StorageClass)
		}
	}
}
