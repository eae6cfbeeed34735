package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/offsite-kafka/offsite/test/bed/azurite"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/bed/fakegcs"
	"github.com/offsite-kafka/offsite/test/bed/objectstore"
)

func up(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	brokers := flags.Int("brokers", 1, "number of brokers, 1 or 3")
	version := flags.String("version", cluster.Kafka43, "version of Kafka, 4.3 or 3.9")
	authorizer := flags.Bool("authorizer", false, "check ACLs, and add a SASL listener with a user who has no rights")
	s3 := flags.Bool("s3", false, "start an S3 server too")
	gcs := flags.Bool("gcs", false, "start a GCS server too")
	azure := flags.Bool("azure", false, "start an Azure Blob server too")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "offsite-bed-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	options := cluster.Options{Brokers: *brokers, Version: *version}
	if *authorizer {
		options.Authorizer = true
		options.Listeners = []cluster.Listener{cluster.SASL}
		options.Users = []cluster.User{{Name: "offsite", Password: rand.Text()}}
	}
	c, err := cluster.Up(ctx, filepath.Join(dir, "kafka"), options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	exports := describe(c, options)

	if *s3 {
		server, err := objectstore.Up(ctx, filepath.Join(dir, "s3"))
		if err != nil {
			return err
		}
		defer server.Close()
		exports = append(append(exports, server.Env()...), "S3_BUCKET="+objectstore.Bucket)
	}
	if *gcs {
		server, err := fakegcs.Up(ctx, dir)
		if err != nil {
			return err
		}
		defer server.Close()
		exports = append(append(exports, server.Env()...), "GCS_BUCKET="+fakegcs.Bucket)
	}
	if *azure {
		server, err := azurite.Up(ctx, dir)
		if err != nil {
			return err
		}
		defer server.Close()
		exports = append(append(exports, server.Env()...), "AZURE_CONTAINER="+azurite.Container)
	}
	for _, e := range exports {
		fmt.Println("export", e)
	}
	fmt.Fprintf(os.Stderr, "running; logs and data are in %s; interrupt to stop\n", dir)
	<-ctx.Done()
	return nil
}

// describe returns how to reach a cluster, as "KEY=value". No value needs quoting.
func describe(c *cluster.Cluster, options cluster.Options) []string {
	exports := []string{"KAFKA_BOOTSTRAP_SERVERS=" + strings.Join(c.Bootstrap(), ",")}
	for _, u := range options.Users {
		exports = append(exports,
			"KAFKA_SASL_BOOTSTRAP_SERVERS="+strings.Join(c.Addrs(cluster.SASL), ","),
			"KAFKA_SASL_USERNAME="+u.Name,
			"KAFKA_SASL_PASSWORD="+u.Password)
	}
	return exports
}
