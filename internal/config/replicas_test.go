package config_test

import (
	"testing"

	"github.com/offsite-kafka/offsite/internal/config"
)

// A second store has its own settings, or none; only limits are shared.
func TestStoreAt(t *testing.T) {
	c := config.Default()
	c.Store = config.Store{
		URL: "s3://here/prod", UnsafeNoFence: true, MaxUpload: 1 << 20, MaxDownload: 2 << 20,
		S3: config.S3{Endpoint: "https://here", ObjectLock: config.ObjectLock{Mode: "compliance", Days: 3}},
	}
	c.Replicas = []config.Replica{{URL: "s3://there/prod", MaxUpload: 3 << 20, S3: config.S3{Profile: "there"}}}
	for url, want := range map[string]config.Store{
		"s3://there/prod/": {URL: "s3://there/prod", MaxUpload: 3 << 20, MaxDownload: 2 << 20, S3: config.S3{Profile: "there"}},
		"s3://third/prod":  {URL: "s3://third/prod", MaxUpload: 1 << 20, MaxDownload: 2 << 20},
	} {
		if got := c.StoreAt(url); got != want {
			t.Errorf("%s: got %+v, want %+v", url, got, want)
		}
	}
}
