package golden_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/internal/store/dir"
	"github.com/offsite-kafka/offsite/test/golden"
)

const quarantinedFolder = "v1/quarantined"

// repositories returns the folders of all golden repositories. None at all would be a mistake in the test.
func repositories(t testing.TB) []string {
	t.Helper()
	folders, err := filepath.Glob("v*/*/repository")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no golden repositories: %v", err)
	}
	for i := range folders {
		folders[i] = filepath.Dir(folders[i])
	}
	return folders
}

// expectation is what a recovery point of a golden repository must yield.
type expectation struct {
	point string // its id; "" for the newest
	lines []byte
}

func expectations(t testing.TB, folder string) []expectation {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "expected*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no expectations: %v", folder, err)
	}
	var list []expectation
	for _, f := range files {
		lines, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(f), ".jsonl")
		list = append(list, expectation{strings.TrimPrefix(strings.TrimPrefix(name, "expected"), "-"), lines})
	}
	return list
}

func open(t testing.TB, folder string) *manifest.Repository {
	t.Helper()
	st, err := dir.Open(filepath.Join(folder, "repository"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// Every repository that was ever written is sound and yields what the broker's consumers saw.
func TestGolden(t *testing.T) {
	for _, folder := range repositories(t) {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			repo := open(t, folder)
			report, err := source.Verify(t.Context(), repo, source.Scope{Level: manifest.LevelDecode}, nil)
			if err != nil || len(report.Damages) > 0 {
				t.Errorf("verify: %v, %+v", err, report)
			}
			for _, want := range expectations(t, folder) {
				t.Run("point "+want.point, func(t *testing.T) {
					expected, err := golden.Decode(want.lines)
					if err != nil {
						t.Fatal(err)
					}
					got, err := restored(t.Context(), repo, want.point, expected)
					if err != nil {
						t.Fatal(err)
					}
					requireSame(t, got, want.lines)
				})
			}
		})
	}
}

// What is lost is not made up for: a point that needs it says so.
func TestQuarantined(t *testing.T) {
	repo := open(t, quarantinedFolder)
	for _, point := range []string{"1", "2"} {
		snapshot, err := source.Load(t.Context(), repo, point, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		plan, err := snapshot.Plan(t.Context(), nil, source.Request{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if len(plan.Refusals) == 0 || !strings.Contains(plan.Refusals[0], "lost") {
			t.Errorf("point %s: %q", point, plan.Refusals)
		}
	}
}

// requireSame compares two texts and names the first line that differs.
func requireSame(t testing.TB, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	a, b := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(a), len(b)) {
		if !bytes.Equal(a[i], b[i]) {
			t.Fatalf("line %d is\n%.500s\nwant\n%.500s", i+1, a[i], b[i])
		}
	}
	t.Fatalf("%d lines, want %d", len(a), len(b))
}

// restored returns the lines of what a restore to the point would bring back. A restore numbers the records anew, so their
// source offsets are found by translating those that are expected.
func restored(ctx context.Context, repo *manifest.Repository, point string, expected *golden.Content) ([]byte, error) {
	snapshot, err := source.Load(ctx, repo, cmp.Or(point, "latest"), time.Now())
	if err != nil {
		return nil, err
	}
	offsets, err := sourceOffsets(ctx, snapshot, expected)
	if err != nil {
		return nil, err
	}
	content := golden.Content{Topics: topics(snapshot), Offsets: committed(snapshot.State.Groups)}
	plan, err := snapshot.Plan(ctx, nil, source.Request{}, time.Now())
	if err != nil {
		return nil, err
	}
	err = plan.EachRecord(ctx, func(t *source.TopicPlan, partition int32, r *batch.Record) error {
		from, ok := offsets[place{t.Source.Name, partition, r.Offset}]
		if !ok {
			return fmt.Errorf("record %d of the partition is more than was expected", r.Offset)
		}
		content.Records = append(content.Records, record(t, partition, from, r))
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(content.Records, func(a, b golden.Record) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return content.Encode()
}

// place is an offset in the target of a restore.
type place struct {
	topic     string
	partition int32
	offset    int64
}

// sourceOffsets translates the expected records' offsets and returns the translation turned round.
func sourceOffsets(ctx context.Context, snapshot *source.Snapshot, expected *golden.Content) (map[place]int64, error) {
	plan, err := snapshot.Plan(ctx, nil, source.Request{}, time.Now())
	if err != nil {
		return nil, err
	}
	plan.Groups = nil
	var extra []source.Extra
	for _, r := range expected.Records {
		extra = append(extra, source.Extra{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset})
	}
	list, err := plan.Offsets(ctx, extra)
	if err != nil {
		return nil, err
	}
	from := make(map[place]int64)
	for _, tr := range list {
		at := place{tr.Topic, tr.Partition, tr.Offset}
		if other, taken := from[at]; taken {
			return nil, fmt.Errorf("%s-%d: offsets %d and %d both become %d", tr.Topic, tr.Partition, other, tr.Source, tr.Offset)
		}
		from[at] = tr.Source
	}
	return from, nil
}

func topics(snapshot *source.Snapshot) []golden.Topic {
	var list []golden.Topic
	for _, i := range snapshot.Incarnations() {
		if i.Gone {
			continue
		}
		configs := make(map[string]string)
		for _, c := range i.Configs {
			configs[c.Name] = *c.Value
		}
		list = append(list, golden.Topic{
			Topic: i.Name, ID: kafka.TopicID(i.ID).String(), Partitions: i.Partitions, Replication: i.ReplicationFactor, Configs: configs,
		})
	}
	return list
}

func committed(groups map[string]*manifest.Group) []golden.Offset {
	var list []golden.Offset
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		g := groups[id]
		for _, k := range g.SortedOffsets() {
			o := g.Offsets[k]
			list = append(list, golden.Offset{
				Group: id, Type: g.Type, Protocol: g.ProtocolType, Topic: k.Topic, Partition: k.Partition,
				Offset: o.Offset, Epoch: o.Epoch, Metadata: o.Metadata,
			})
		}
	}
	return list
}

func record(t *source.TopicPlan, partition int32, offset int64, r *batch.Record) golden.Record {
	l := golden.Record{
		Topic: t.Source.Name, ID: kafka.TopicID(t.Source.ID).String(), Partition: partition, Offset: offset, Timestamp: r.Timestamp,
		Key: bytes.Clone(r.Key()), Value: bytes.Clone(r.Value()),
	}
	for key, value := range r.Headers() {
		l.Headers = append(l.Headers, golden.Header{bytes.Clone(key), bytes.Clone(value)})
	}
	return l
}
