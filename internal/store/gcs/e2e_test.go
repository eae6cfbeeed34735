//go:build e2e

package gcs_test

import (
	"fmt"
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
		s, err := gcs.Open(fakegcs.Bucket, fmt.Sprintf("prefix %d/Repository", n.Add(1)))
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
		s, err := gcs.Open(bucket, "")
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
		s, err := gcs.Open(fakegcs.Bucket, "altered")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, 1000, gcs.PartSize)
}
