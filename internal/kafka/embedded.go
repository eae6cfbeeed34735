package kafka

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Embedded is a cluster of one broker in this process, in memory and on loopback,
// to try something on. It behaves like a broker, but is none.
type Embedded struct {
	*Cluster
	fake *kfake.Cluster
}

// StartEmbedded starts an empty one. What is produced to it takes memory until Close.
func StartEmbedded(ctx context.Context, log *slog.Logger) (*Embedded, error) {
	f, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ClusterID("embedded"), kfake.BrokerConfigs(map[string]string{"message.max.bytes": "268435456"}))
	if err != nil {
		return nil, fmt.Errorf("start a cluster in this process: %w", err)
	}
	c, err := Connect(ctx, Config{BootstrapServers: f.ListenAddrs(), ClientID: "restored"}, log)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Embedded{c, f}, nil
}

// Close ends the connection and the cluster, and frees what it holds.
func (e *Embedded) Close() {
	e.Cluster.Close()
	e.fake.Close()
}
