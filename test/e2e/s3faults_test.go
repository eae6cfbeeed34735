//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/sink"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/retrying"
	"github.com/offsite-kafka/offsite/internal/store/s3"
	"github.com/offsite-kafka/offsite/test/bed/objectstore"
)

// s3Fault is what becomes of a request on its way to the S3 server.
type s3Fault string

const (
	answer503     s3Fault = "answered 503"             // once: the SDK asks again
	answer500     s3Fault = "answered 500 for a while" // until the SDK gives up
	answeredLate  s3Fault = "answered 500 after doing" // once
	answerLost    s3Fault = "done, but not answered"   // once: the connection breaks
	neverAnswered s3Fault = "done, but never answered" // until the SDK gives up
	shortBody     s3Fault = "body cut short"           // once
)

// sdkAttempts is how often the S3 store lets the SDK send a request.
const sdkAttempts = 5

// unreliable is a proxy before an S3 server that lets its n-th request fail.
type unreliable struct {
	*httptest.Server
	proxy *httputil.ReverseProxy
	at    int
	fault s3Fault

	mu      sync.Mutex
	list    []string // method and path of each request
	victim  string   // the request that fails, which the SDK may send again
	retried int      // how often it was
}

func newUnreliable(server *objectstore.Server, at int, fault s3Fault) (*unreliable, error) {
	target, err := url.Parse(server.Endpoint())
	if err != nil {
		return nil, err
	}
	u := &unreliable{at: at, fault: fault}
	// The host is part of the signature: it stays what the client signed.
	u.proxy = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}}
	u.Server = httptest.NewServer(u)
	return u, nil
}

// next notes a request and says how it is to fail.
func (u *unreliable) next(r *http.Request) s3Fault {
	u.mu.Lock()
	defer u.mu.Unlock()
	name := r.Method + " " + r.URL.Path + "?" + r.URL.Query().Get("prefix")
	u.list = append(u.list, name)
	if len(u.list) == u.at {
		u.victim = name
		return u.fault
	}
	if name == u.victim && u.retried < sdkAttempts-1 && (u.fault == answer500 || u.fault == neverAnswered) {
		u.retried++
		return u.fault
	}
	return ""
}

func (u *unreliable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch u.next(r) {
	case answer503:
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
	case answer500:
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusInternalServerError)
	case answeredLate:
		u.proxy.ServeHTTP(httptest.NewRecorder(), r)
		w.WriteHeader(http.StatusInternalServerError)
	case answerLost, neverAnswered:
		u.proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case shortBody:
		cutShort(w, u.proxy, r)
	default:
		u.proxy.ServeHTTP(w, r)
	}
}

// cutShort promises the whole body and sends half of it.
func cutShort(w http.ResponseWriter, h http.Handler, r *http.Request) {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	maps.Copy(w.Header(), rec.Header())
	w.Header().Set("Content-Length", strconv.Itoa(rec.Body.Len()))
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func (u *unreliable) requests() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.list)
}

// openS3 reaches a prefix as the programs do.
func openS3(ctx context.Context, endpoint, prefix string) (store.Store, error) {
	st, err := s3.Open(ctx, objectstore.Bucket, prefix, s3.Options{Endpoint: endpoint})
	if err != nil {
		return nil, err
	}
	return retrying.New(st, retrying.Config{First: 10 * time.Millisecond, Max: 50 * time.Millisecond}, quiet()), nil
}

// faultSource is a fake cluster and what it holds, by "topic-partition".
type faultSource struct {
	cluster *kafka.Cluster
	truth   map[string][]string
}

func newFaultSource(t *testing.T) *faultSource {
	t.Helper()
	f, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "orders", "bills"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	s := &faultSource{truth: make(map[string][]string)}
	for i := range 40 {
		r := &kgo.Record{Topic: []string{"orders", "bills"}[i%2], Partition: int32(i / 2 % 2), Value: bytes.Repeat(fmt.Appendf(nil, "record %d ", i), 20)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		place := fmt.Sprintf("%s-%d", r.Topic, r.Partition)
		s.truth[place] = append(s.truth[place], string(r.Value))
	}
	if s.cluster, err = kafka.Connect(t.Context(), kafka.Config{BootstrapServers: f.ListenAddrs()}, quiet()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.cluster.Close)
	return s
}

// backUp captures the topics that match, as backupd once does.
func (s *faultSource) backUp(ctx context.Context, st store.Store, topics ...string) error {
	repo, err := manifest.OpenOrCreate(ctx, st, s.cluster.ID(), time.Now())
	if err != nil {
		return err
	}
	config := sink.Defaults()
	config.FetchWait, config.SegmentBytes, config.FetchBytes = 5*time.Millisecond, 1000, 1500
	if config.Topics, err = pattern.Parse(topics); err != nil {
		return err
	}
	_, err = (&sink.Sink{Cluster: s.cluster, Repository: repo, Config: config, Log: quiet()}).Once(ctx)
	return err
}

// check verifies a repository and compares its records.
func (s *faultSource) check(ctx context.Context, st store.Store) error {
	repo, err := manifest.Open(ctx, st)
	if err != nil {
		return err
	}
	report, err := source.Verify(ctx, repo, source.Scope{Level: manifest.LevelDecode}, nil)
	if err != nil {
		return err
	}
	if len(report.Damages) > 0 {
		return fmt.Errorf("damages %+v", report.Damages)
	}
	snap, err := source.Load(ctx, repo, "latest", time.Now())
	if err != nil {
		return err
	}
	plan, err := snap.Plan(ctx, nil, source.Request{}, time.Now())
	if err != nil {
		return err
	}
	got := make(map[string][]string)
	err = plan.EachRecord(ctx, func(t *source.TopicPlan, partition int32, r *batch.Record) error {
		place := fmt.Sprintf("%s-%d", t.Target, partition)
		got[place] = append(got[place], string(r.Value()))
		return nil
	})
	return errors.Join(err, s.compare(got))
}

func (s *faultSource) compare(got map[string][]string) error {
	if !maps.EqualFunc(got, s.truth, slices.Equal) {
		return fmt.Errorf("there is %v, want %v", got, s.truth)
	}
	return nil
}

// restoreInto restores the newest point and reads the target.
func (s *faultSource) restoreInto(ctx context.Context, st store.Store, f *kfake.Cluster) error {
	repo, err := manifest.Open(ctx, st)
	if err != nil {
		return err
	}
	cluster, err := kafka.Connect(ctx, kafka.Config{BootstrapServers: f.ListenAddrs()}, quiet())
	if err != nil {
		return err
	}
	defer cluster.Close()
	plan, err := source.Prepare(ctx, repo, cluster, source.Request{}, time.Now())
	if err != nil {
		return err
	}
	_, err = (&source.Runner{Cluster: cluster, Log: quiet()}).Run(ctx, plan)
	return err
}

// checkTarget reads the restored topics.
func (s *faultSource) checkTarget(ctx context.Context, f *kfake.Cluster) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.ListenAddrs()...), kgo.ConsumeTopics("orders", "bills"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	left := 0
	for _, topic := range []string{"orders", "bills"} {
		for _, p := range f.PartitionInfos(topic) {
			left += int(p.HighWatermark)
		}
	}
	got := make(map[string][]string)
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			place := fmt.Sprintf("%s-%d", r.Topic, r.Partition)
			got[place] = append(got[place], string(r.Value))
			left--
		})
	}
	return s.compare(got)
}

// kind is what requests have in common that differ in the object they name.
func kind(request string) string {
	method, path, _ := strings.Cut(request, " ")
	for _, k := range []string{"/log/", "/data/", manifest.RepositoryKey} {
		if strings.Contains(path, k) {
			return method + k + strconv.FormatBool(strings.HasSuffix(path, "/")) // a listing, or not
		}
	}
	return request
}

// faultsOf are the faults for a request. Those that outlast the SDK's patience
// take long: the first of each kind of request is enough.
func faultsOf(request string, first bool) []s3Fault {
	list := []s3Fault{answer503, shortBody}
	if strings.HasPrefix(request, "PUT") {
		list = []s3Fault{answer503, answeredLate, answerLost}
	}
	if first {
		list = append(list, answer500)
	}
	if first && strings.HasPrefix(request, "PUT") {
		list = append(list, neverAnswered)
	}
	return list
}

// sweep lets each of the requests fail in each way, many of them at once since
// the SDK's pauses are most of it.
func sweep(t *testing.T, requests []string, one func(at int, fault s3Fault) error) {
	var g errgroup.Group
	g.SetLimit(12)
	seen, runs := make(map[string]bool), 0
	for i, request := range requests {
		for _, fault := range faultsOf(request, !seen[kind(request)]) {
			runs++
			g.Go(func() error {
				if err := one(i+1, fault); err != nil {
					t.Errorf("request %d (%s) %s: %v", i+1, request, fault, err)
				}
				return nil
			})
		}
		seen[kind(request)] = true
	}
	_ = g.Wait()
	t.Logf("%d requests, %d faults", len(requests), runs)
}

// TestS3Faults backs up and restores through the SDK, whose retries, checksums
// and connections must not hide or spoil what becomes of a request: whatever
// says that it succeeded has, and what failed can be done again.
func TestS3Faults(t *testing.T) {
	server := objectstore.Start(t)
	for _, entry := range server.Env() {
		key, value, _ := strings.Cut(entry, "=")
		t.Setenv(key, value)
	}
	s := newFaultSource(t)
	through := func(at int, fault s3Fault, prefix string, do func(store.Store) error) (*unreliable, error) {
		u, err := newUnreliable(server, at, fault)
		if err != nil {
			return nil, err
		}
		defer u.Close()
		st, err := openS3(t.Context(), u.URL, prefix)
		if err != nil {
			return nil, err
		}
		err = do(st)
		if at > len(u.requests()) {
			t.Errorf("only %d requests were made, number %d was to fail", len(u.requests()), at)
		}
		return u, err
	}
	twice := func(st store.Store) error {
		return errors.Join(s.backUp(t.Context(), st, "orders"), s.backUp(t.Context(), st))
	}

	t.Run("backup", func(t *testing.T) {
		u, err := through(0, "", "whole", twice)
		if err != nil {
			t.Fatal(err)
		}
		sweep(t, u.requests(), func(at int, fault s3Fault) error {
			prefix := fmt.Sprintf("backup-%d-%s", at, strings.ReplaceAll(string(fault), " ", "-"))
			_, err := through(at, fault, prefix, twice)
			clean, cerr := openS3(t.Context(), server.Endpoint(), prefix)
			if cerr != nil {
				return cerr
			}
			if err == nil {
				if err := s.check(t.Context(), clean); err != nil {
					return fmt.Errorf("a backup that succeeded is not right: %w", err)
				}
			}
			if err := s.backUp(t.Context(), clean); err != nil {
				return fmt.Errorf("the backup afterwards: %w", err)
			}
			return s.check(t.Context(), clean)
		})
	})

	t.Run("restore", func(t *testing.T) {
		one := func(at int, fault s3Fault) (*unreliable, error) {
			f, err := kfake.NewCluster(kfake.NumBrokers(1))
			if err != nil {
				return nil, err
			}
			defer f.Close()
			u, err := through(at, fault, "whole", func(st store.Store) error { return s.restoreInto(t.Context(), st, f) })
			if err != nil {
				clean, cerr := openS3(t.Context(), server.Endpoint(), "whole")
				if cerr != nil {
					return u, cerr
				}
				if err := s.restoreInto(t.Context(), clean, f); err != nil {
					return u, fmt.Errorf("the restore afterwards: %w", err)
				}
			}
			return u, s.checkTarget(t.Context(), f)
		}
		u, err := one(0, "")
		if err != nil {
			t.Fatal(err)
		}
		sweep(t, u.requests(), func(at int, fault s3Fault) error {
			_, err := one(at, fault)
			return err
		})
	})
}
