// Command demo loses a Kafka cluster and brings it back, in seconds and without a JVM: the two clusters are embedded in
// this process, backupd and restored are the real programs.
//
//	go build -o bin/ ./cmd/... && go run ./test/demo
//
// It ends with a table of what was there before and what is there after, and with exit code 1 if the two differ.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

func main() {
	bin := flag.String("bin", "bin", "`directory` of the programs backupd and restored")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := demo(ctx, *bin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, bin string, out io.Writer) error {
	dir, err := os.MkdirTemp("", "offsite-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p := &programs{bin: bin, repo: filepath.Join(dir, "backup"), out: out}
	before, err := loseCluster(ctx, p)
	if err != nil {
		return err
	}
	after, err := restoreCluster(ctx, p)
	if err != nil {
		return err
	}
	return report(out, before, after)
}

// loseCluster runs a shop on a cluster that backupd captures, and returns what the shop's consumers could see at the
// moment in which the cluster went away.
func loseCluster(ctx context.Context, p *programs) (*view, error) {
	cluster, err := startCluster("the-old-cluster")
	if err != nil {
		return nil, err
	}
	defer cluster.Close()
	p.say("A cluster with a topic %q: keys, headers, one transaction committed and one aborted, and a group %q half way.", ordersTopic, billingGroup)
	shop, err := openShop(ctx, cluster)
	if err != nil {
		return nil, err
	}
	defer shop.close()
	if err := shop.open(ctx); err != nil {
		return nil, err
	}

	p.say("The backup runs, and the shop goes on selling.")
	backup, err := p.start("backupd", "run", "--bootstrap-server", servers(cluster), "--repo", p.repo, "-X", "points.every=1s", "-X", "segment.maxAge=1s")
	if err != nil {
		return nil, err
	}
	defer backup.kill()
	for range 3 {
		if err := sellUntilCovered(ctx, p, shop, backup); err != nil {
			return nil, err
		}
	}
	if err := p.show(ctx, "backupd", "status", "--repo", p.repo); err != nil {
		return nil, err
	}
	seen, err := look(ctx, cluster)
	if err != nil {
		return nil, err
	}
	if err := backup.terminate(ctx); err != nil {
		return nil, err
	}
	p.say("Disaster: the cluster is gone.")
	return seen, nil
}

// sellUntilCovered returns when a recovery point holds all that the shop has sold. A point of some moment holds
// every record that was acknowledged before.
func sellUntilCovered(ctx context.Context, p *programs, s *shop, backup *daemon) error {
	for {
		if err := s.sell(ctx, 25); err != nil {
			return err
		}
		sold := time.Now()
		for range 30 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-backup.Done():
				return backup.failure()
			case <-time.After(100 * time.Millisecond):
			}
			point, err := p.lastPoint(ctx)
			if err != nil {
				return err
			}
			if !point.Before(sold) {
				return nil
			}
		}
		// While nothing changes a point is made once a minute only, so change something.
	}
}

// restoreCluster brings the backup back into a new cluster and returns what consumers see there.
func restoreCluster(ctx context.Context, p *programs) (*view, error) {
	cluster, err := startCluster("the-new-cluster")
	if err != nil {
		return nil, err
	}
	defer cluster.Close()
	p.say("A new cluster, empty.")
	for _, args := range [][]string{{"plan"}, {"run", "--yes"}} {
		args = append(args, "--repo", p.repo, "--bootstrap-server", servers(cluster))
		if err := p.show(ctx, "restored", args...); err != nil {
			return nil, err
		}
	}
	return look(ctx, cluster)
}

// servers returns a bootstrap address; the cluster names the others.
func servers(c *kfake.Cluster) string { return c.ListenAddrs()[0] }

func startCluster(id string) (*kfake.Cluster, error) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.ClusterID(id))
	if err != nil {
		return nil, fmt.Errorf("start embedded cluster: %w", err)
	}
	return cluster, nil
}
