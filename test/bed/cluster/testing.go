package cluster

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Start starts a cluster for the duration of a test, in a directory that goes with the test. It ends the test if the
// cluster does not start. If the test fails, the end of each broker's log is logged.
func Start(t testing.TB, options Options) *Cluster {
	t.Helper()
	c, err := Up(t.Context(), t.TempDir(), options)
	if err != nil {
		t.Fatalf("start cluster: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close cluster: %v", err)
		}
		if t.Failed() {
			for _, b := range c.brokers {
				t.Logf("end of the log of broker %d:\n%s", b.id, b.logTail())
			}
		}
	})
	return c
}

// Client returns a client of the plaintext listener that is closed with the test.
func (c *Cluster) Client(t testing.TB, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.Bootstrap()...)}, options...)...)
	if err != nil {
		t.Fatalf("create client: %v", err)
	}
	t.Cleanup(client.Close)
	return client
}
