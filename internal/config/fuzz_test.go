package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/offsite-kafka/offsite/internal/config"
)

// FuzzLoad: a file is a valid configuration, or an error of it, and costs little.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("kafka: {bootstrapServers: [a, 'b:1'], tls: {}, sasl: {mechanism: PLAIN, username: u}}\nsegment: {maxBytes: 8MiB, maxAge: 5s}\n"))
	f.Add([]byte("store: {url: '${HOME:-/tmp}'}\nselect:\n  topics: {include: ['a*', '/b[0-9]/'], exclude: ['{c,d}']}\n"))
	f.Add([]byte("restore:\n  at: -2h\n  rename: {a: b}\n  overrides:\n    - {topics: [a], configs: {x: 1, y: null}}\n"))
	f.Add([]byte("a: &a [x, x]\nb: &b [*a, *a]\nrestore: {topics: [*b, *b]}\n"))
	path := filepath.Join(f.TempDir(), "offsite.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c, err := config.Load(path)
		runtime.ReadMemStats(&after)
		if (c == nil) == (err == nil) || err != nil && !errors.Is(err, config.ErrInvalid) {
			t.Errorf("got %v, %v", c, err)
		}
		if cost := after.TotalAlloc - before.TotalAlloc; cost > 32<<20 {
			t.Errorf("%d bytes are allocated for %d", cost, len(text))
		}
	})
}
