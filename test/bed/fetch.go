package main

import (
	"context"
	"fmt"
	"os"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/bed/fakegcs"
	"github.com/offsite-kafka/offsite/test/bed/objectstore"
)

func fetch(ctx context.Context) error {
	for _, version := range []string{cluster.Kafka43, cluster.Kafka39} {
		fmt.Fprintf(os.Stderr, "fetching Kafka %s\n", version)
		if err := cluster.Fetch(ctx, version); err != nil {
			return fmt.Errorf("fetch Kafka %s: %w", version, err)
		}
	}
	fmt.Fprintln(os.Stderr, "building versitygw")
	if err := objectstore.Fetch(ctx); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "building fake-gcs-server")
	return fakegcs.Fetch(ctx)
}
