package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/bed/objectstore"
)

// requestParts are the numbers of partitions whose requests are counted.
var requestParts = []int32{100, 2_000, 10_000}

// everyPartition is how often each of them gets a batch of about 1 KB.
const everyPartition = 10 * time.Second

// counts are requests to an S3 server, by kind ("PUT", "GET", "LIST", "DELETE") and folder of the repository: "PUT data".
type counts map[string]int64

// kind returns how many requests there were of a kind, whatever of.
func (c counts) kind(kind string) (n int64) {
	for what, k := range c {
		if strings.HasPrefix(what, kind+" ") {
			n += k
		}
	}
	return n
}

// minus returns what came since.
func (c counts) minus(before counts) counts {
	d := make(counts)
	for what, n := range c {
		if n > before[what] {
			d[what] = n - before[what]
		}
	}
	return d
}

func (c counts) String() string {
	var list []string
	for _, what := range slices.Sorted(maps.Keys(c)) {
		list = append(list, fmt.Sprintf("%d %s", c[what], what))
	}
	return strings.Join(list, ", ")
}

// counter passes requests on to an S3 server and counts them.
type counter struct {
	server *objectstore.Server
	http   *http.Server
	addr   string

	mu   sync.Mutex
	seen counts
}

func newCounter(ctx context.Context, dir string) (*counter, error) {
	s, err := objectstore.Up(ctx, dir)
	if err != nil {
		return nil, err
	}
	to, err := url.Parse(s.Endpoint())
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &counter{server: s, addr: l.Addr().String(), seen: make(counts)}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // which is signed
	}}
	c.http = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.note(r)
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = c.http.Serve(l) }() // until it is closed
	return c, nil
}

func (c *counter) close() {
	c.http.Close()
	c.server.Close()
}

// note counts a request in the kind that it is billed as: what begins and ends an upload in parts is a PUT, too.
func (c *counter) note(r *http.Request) {
	kind := r.Method
	switch {
	case kind == http.MethodGet && r.URL.Query().Has("list-type"):
		kind = "LIST"
	case kind == http.MethodHead:
		kind = "GET"
	case kind == http.MethodPost && r.URL.Query().Has("delete"):
		kind = "DELETE"
	case kind == http.MethodPost:
		kind = "PUT"
	}
	path := r.URL.Path
	if kind == "LIST" {
		path += "/" + r.URL.Query().Get("prefix")
	}
	folder := "other"
	for _, f := range []string{"data", "log", "snapshot"} {
		if strings.Contains(path, "/"+f+"/") {
			folder = f
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[kind+" "+folder]++
}

func (c *counter) now() counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.seen)
}

// program is backupd or restored on the server behind the counter.
func (c *counter) program(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, append(args, "--repo", "s3://"+objectstore.Bucket+"/requests")...)
	cmd.Env = append(os.Environ(), c.server.Env()...)
	cmd.Env = append(cmd.Env, "AWS_ENDPOINT_URL=http://"+c.addr)
	return cmd
}

// counted runs a program to its end and returns its requests, and what it wrote.
func (c *counter) counted(ctx context.Context, path string, args ...string) (counts, []byte, error) {
	before := c.now()
	cmd := c.program(ctx, path, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w\n%s", args[0], err, errs.String())
	}
	return c.now().minus(before), out, nil
}

// requestsOf is what was counted with a number of partitions.
type requestsOf struct {
	Partitions int32   `json:"partitions"`
	Seconds    float64 `json:"seconds"` // of the capture that was counted
	Records    int64   `json:"recordsCaptured"`
	Load       string  `json:"loadAverage"`
	Capture    counts  `json:"capture"`
	Objects    int64   `json:"segmentsCaptured"` // before the merge, warm-up included
	Entries    int64   `json:"logEntries"`
	Merge      counts  `json:"merge"`
	Merged     int     `json:"segmentsMerged"`
	Written    int     `json:"segmentsWritten"`
	Prune      counts  `json:"prune"`
	Deleted    int64   `json:"segmentsDeleted"`
	Verify     counts  `json:"verify"`
}

// requests counts what backupd asks of an S3 server.
func (b *bench) requests(ctx context.Context) error {
	for _, n := range requestParts {
		r, err := b.requestsWith(ctx, n)
		if err != nil {
			return fmt.Errorf("%d partitions: %w", n, err)
		}
		b.asked = append(b.asked, *r)
	}
	return nil
}

func (b *bench) requestsWith(ctx context.Context, n int32) (r *requestsOf, err error) {
	dir := filepath.Join(b.dir, fmt.Sprint("requests-", n))
	defer os.RemoveAll(dir)
	src, err := cluster.Up(ctx, filepath.Join(dir, "broker"), cluster.Options{HeapMB: 768, Properties: map[string]string{
		"broker.session.timeout.ms": "60000", "log.index.size.max.bytes": "4096", "log.segment.bytes": "1048576",
	}})
	if err != nil {
		return nil, err
	}
	defer src.Close()
	c, err := newCounter(ctx, filepath.Join(dir, "s3"))
	if err != nil {
		return nil, err
	}
	defer c.close()
	admin, err := connect(ctx, src.Bootstrap()[0])
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	var topics []*kafka.Topic
	for left := n; left > 0; left -= 1000 { // a request for all of them takes a broker too long
		t, err := create(ctx, admin, fmt.Sprint("trickle-", len(topics)), min(left, 1000))
		if err != nil {
			return nil, err
		}
		topics = append(topics, t)
	}
	r = &requestsOf{Partitions: n, Load: loadAverage()}
	if err := b.countCapture(ctx, c, src.Bootstrap()[0], admin, topics, r); err != nil {
		return nil, err
	}
	return r, b.countUpkeep(ctx, c, r)
}

// countCapture counts the requests of backupd run with its defaults, whose objective is 10 s.
func (b *bench) countCapture(ctx context.Context, c *counter, addr string, admin *kafka.Cluster, topics []*kafka.Topic, r *requestsOf) error {
	list, _, err := batches(batch.None, 64, 2)
	if err != nil {
		return err
	}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- trickleSlowly(loading, admin, topics, list) }()
	cmd := c.program(ctx, filepath.Join(b.bin, "backupd"), "run", "--bootstrap-server", addr)
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		return err
	}
	time.Sleep(2 * warmUp)
	before, began := c.now(), time.Now()
	select {
	case <-time.After(time.Duration(b.seconds) * time.Second):
	case err := <-done:
		return fmt.Errorf("the load ended early: %w", err)
	}
	r.Capture, r.Seconds = c.now().minus(before), time.Since(began).Seconds()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("backupd: %w\n%s", err, log.String())
	}
	return nil
}

// countUpkeep counts what looks after the repository: a merge of all there is, a prune of what it replaced, a
// verification of everything.
func (b *bench) countUpkeep(ctx context.Context, c *counter, r *requestsOf) error {
	backupd, restored := filepath.Join(b.bin, "backupd"), filepath.Join(b.bin, "restored")
	_, out, err := c.counted(ctx, backupd, "status", "-o", "json")
	if err != nil {
		return err
	}
	var status struct {
		Entries  int64
		Segments int64
		Topics   []struct{ Records int64 }
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return err
	}
	r.Entries, r.Objects = status.Entries, status.Segments
	for _, t := range status.Topics {
		r.Records += t.Records
	}
	if r.Verify, _, err = c.counted(ctx, restored, "verify", "--level", "digest"); err != nil {
		return err
	}
	if r.Merge, out, err = c.counted(ctx, backupd, "merge", "-X", "merge.minAge=0s", "-o", "json"); err != nil {
		return err
	}
	var merged struct{ Replaced, Written int }
	if err := json.Unmarshal(out, &merged); err != nil {
		return err
	}
	r.Merged, r.Written = merged.Replaced, merged.Written
	if r.Prune, out, err = c.counted(ctx, backupd, "prune", "-X", "retention.keep.last=1", "-X", "retention.grace=0s", "--force", "-o", "json"); err != nil {
		return err
	}
	var pruned struct{ Deleted struct{ Segments int64 } }
	if err := json.Unmarshal(out, &pruned); err != nil {
		return err
	}
	r.Deleted = pruned.Deleted.Segments
	return nil
}

// trickleSlowly sends each partition a batch of about 1 KB every so often, a part of them each second.
func trickleSlowly(ctx context.Context, c *kafka.Cluster, topics []*kafka.Topic, list [][]byte) error {
	p, err := c.NewProducer()
	if err != nil {
		return err
	}
	defer p.Close()
	const turns = int(everyPartition / time.Second)
	for n := 0; ctx.Err() == nil; n++ {
		next := time.Now().Add(time.Second)
		for _, t := range topics {
			var parts []kafka.ProducePartition
			for k := n % turns; k < len(t.Partitions); k += turns {
				parts = append(parts, kafka.ProducePartition{Topic: t.Name, TopicID: t.ID, Partition: int32(k), Batch: list[(k+n)%len(list)]})
			}
			if err := produceAll(ctx, p, t.Partitions[0].Leader, parts); err != nil {
				return err
			}
		}
		time.Sleep(time.Until(next))
	}
	return nil
}

func printRequests(w io.Writer, list []requestsOf) {
	if len(list) == 0 {
		return
	}
	const day = 24 * 60 * 60
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "\nPARTITIONS\tSECONDS\tPUT/DAY\tGET/DAY\tLIST/DAY\tOF THE CAPTURE")
	for _, r := range list {
		perDay := func(kind string) int64 { return int64(float64(r.Capture.kind(kind)) * day / r.Seconds) }
		fmt.Fprintf(t, "%d\t%.0f\t%d\t%d\t%d\t%s\n", r.Partitions, r.Seconds, perDay("PUT"), perDay("GET"), perDay("LIST"), r.Capture)
	}
	t.Flush()
	for _, r := range list {
		fmt.Fprintf(w, "%d partitions, load average %s: %d segments of %d entries, %d records\n\tverify: %s\n\tmerge of %d into %d: %s\n\tprune of %d: %s\n",
			r.Partitions, r.Load, r.Objects, r.Entries, r.Records, r.Verify, r.Merged, r.Written, r.Merge, r.Deleted, r.Prune)
	}
}
