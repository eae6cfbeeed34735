package config_test

import (
	"testing"

	"github.com/offsite-kafka/offsite/internal/config"
)

// A limit can be said to be none, in the word that the documents have for it, and in
// figures. For a replica that is something else than to say nothing.
func TestNoLimit(t *testing.T) {
	for text, want := range map[string]int64{"none": 0, "0": 0, "0B": 0, "20MiB": 20 << 20} {
		c := config.Default()
		c.Replicas = []config.Replica{{URL: "s3://there/prod"}}
		for _, key := range []string{"store.maxDownload", "store.maxUpload", "merge.maxBandwidth"} {
			if err := c.Set(key + "=" + text); err != nil {
				t.Errorf("%s=%s: %v", key, text, err)
			}
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		for _, got := range []config.Rate{c.Store.MaxDownload, c.Store.MaxUpload, c.Merge.MaxBandwidth, c.StoreAt("s3://there/prod").MaxUpload} {
			if got.Bytes() != want {
				t.Errorf("%s: got %d bytes a second, want %d", text, got.Bytes(), want)
			}
		}
		c.Store.MaxUpload = 1 << 20
		if err := c.Replicas[0].MaxUpload.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got := c.StoreAt("s3://there/prod").MaxUpload.Bytes(); got != want {
			t.Errorf("a replica with %s has %d bytes a second, want %d", text, got, want)
		}
	}
}
