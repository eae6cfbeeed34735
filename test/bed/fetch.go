package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/offsite-kafka/offsite/test/bed/azurite"
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
	if err := fakegcs.Fetch(ctx); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "installing azurite")
	err := azurite.Fetch(ctx)
	if errors.Is(err, azurite.ErrUnavailable) {
		fmt.Fprintf(os.Stderr, "\nSKIPPED, and so will be all tests with Azure: %v\n\n", err)
		return nil
	}
	return err
}
