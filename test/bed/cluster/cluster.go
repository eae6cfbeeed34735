// Package cluster runs real Apache Kafka brokers on this machine, for tests and benchmarks: no containers, loopback
// only, one JVM for each broker, up in about two seconds. It needs Linux and a JVM, and Maven the first time.
//
// A test says
//
//	c := cluster.Start(t, cluster.Options{Brokers: 3})
//	client := c.Client(t)
//
// and a program that is no test uses Up and Close. Brokers are named by their node id, which counts from 0.
package cluster

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/offsite-kafka/offsite/test/bed/authority"
)

// startTimeout bounds how long a broker may take to answer. It takes about two seconds on an idle machine.
const startTimeout = 2 * time.Minute

// Cluster is a set of brokers. Methods are safe for concurrent use, except those that start or stop the same broker.
type Cluster struct {
	id        string
	dir       string
	options   Options
	install   install
	brokers   []*broker
	authority *authority.Authority // nil without a TLS listener
}

// Up starts a cluster and returns when all brokers answer, know each other, and all users can log in. dir takes
// everything the brokers write; it is created if need be, and it stays the caller's to remove after Close. ctx bounds
// the start only. If a broker does not start, the error holds the end of its log and nothing is left running.
func Up(ctx context.Context, dir string, options Options) (*Cluster, error) {
	options = options.withDefaults()
	if err := options.validate(); err != nil {
		return nil, err
	}
	k, err := prepare(ctx, options.Version)
	if err != nil {
		return nil, fmt.Errorf("install Kafka %s: %w", options.Version, err)
	}
	c, err := newCluster(dir, options, k)
	if err != nil {
		return nil, err
	}
	if err := c.up(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// newCluster lays out a cluster and holds its ports. It starts nothing.
func newCluster(dir string, options Options, k install) (*Cluster, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	var id [16]byte
	rand.Read(id[:])
	id[0] &= 0x7f // Kafka's command line takes an id that begins with '-' for a flag
	c := &Cluster{id: base64.RawURLEncoding.EncodeToString(id[:]), dir: dir, options: options, install: k}
	if options.has(TLS, MTLS, SASLTLS) {
		if c.authority, err = authority.New(filepath.Join(dir, "ca")); err != nil {
			return nil, err
		}
	}
	for i := range options.Brokers {
		b, err := newBroker(i, filepath.Join(dir, fmt.Sprintf("broker-%d", i)), options.Listeners)
		if err != nil {
			c.releasePorts()
			return nil, err
		}
		c.brokers = append(c.brokers, b)
	}
	return c, nil
}

func (c *Cluster) up(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, b := range c.brokers {
		if err := c.format(b); err != nil {
			return fmt.Errorf("format broker %d: %w", b.id, err)
		}
		if err := c.spawn(b); err != nil {
			return err
		}
	}
	if err := c.WaitReady(ctx); err != nil {
		return err
	}
	return c.createUsers(ctx)
}

// format does the work of "kafka-storage.sh format", which would cost another JVM for each broker. Its only result
// that is not copied from a directory formatted by that tool is meta.properties.
func (c *Cluster) format(b *broker) error {
	if c.authority != nil {
		keystore, err := c.authority.Issue(authority.Leaf{CommonName: fmt.Sprintf("broker-%d", b.id), Hosts: []string{"127.0.0.1", "localhost"}})
		if err != nil {
			return err
		}
		b.keystore = keystore.KeyAndCertFile
	}
	if err := b.writeFiles(c.properties(b)); err != nil {
		return err
	}
	var directory [16]byte
	rand.Read(directory[:])
	directory[0] = 0x40 // Kafka reserves the first hundred ids, and they begin with zero
	meta := map[string]string{
		"version":      "1",
		"cluster.id":   c.id,
		"node.id":      fmt.Sprint(b.id),
		"directory.id": base64.RawURLEncoding.EncodeToString(directory[:]),
	}
	if err := os.WriteFile(filepath.Join(b.dataDir(), "meta.properties"), encodeProperties(meta), 0o644); err != nil {
		return err
	}
	bootstrap, err := os.ReadFile(c.install.bootstrap)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dataDir(), bootstrapFile), bootstrap, 0o644)
}

// Close kills all brokers, paused ones too, and lets their ports go. It may be called again.
func (c *Cluster) Close() error {
	var errs []error
	for _, b := range c.brokers {
		errs = append(errs, b.kill())
	}
	c.releasePorts()
	return errors.Join(errs...)
}

func (c *Cluster) releasePorts() {
	for _, b := range c.brokers {
		b.releasePorts()
	}
}

// ID returns the cluster id.
func (c *Cluster) ID() string { return c.id }

// Size returns the number of brokers.
func (c *Cluster) Size() int { return len(c.brokers) }

// Bootstrap returns the brokers' plaintext addresses, by node id.
func (c *Cluster) Bootstrap() []string { return c.Addrs(Plaintext) }

// Addrs returns the brokers' addresses on a listener, by node id. It returns nil if the cluster has no such listener.
func (c *Cluster) Addrs(l Listener) []string {
	if !c.options.has(l) {
		return nil
	}
	var addrs []string
	for _, b := range c.brokers {
		addrs = append(addrs, b.ports[l].Addr())
	}
	return addrs
}

// Authority returns the issuer of the brokers' certificates, which the brokers in turn trust for client certificates.
// It is nil if the cluster has no TLS listener.
func (c *Cluster) Authority() *authority.Authority { return c.authority }

// DataDir returns the log directory of a broker. It is the same for all runs of the broker.
func (c *Cluster) DataDir(id int) string { return c.brokers[id].dataDir() }

// PartitionDir returns the directory of a partition's segment files on a broker, whether it exists or not.
func (c *Cluster) PartitionDir(id int, topic string, partition int32) string {
	return filepath.Join(c.DataDir(id), fmt.Sprintf("%s-%d", topic, partition))
}

// LogFile returns the file with the output of all runs of a broker.
func (c *Cluster) LogFile(id int) string { return c.brokers[id].logFile() }
