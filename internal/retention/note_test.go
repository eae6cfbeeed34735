package retention_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// A prune and a sweep leave in the log by which rules how much of what has gone, each once, whatever they delete.
func TestNotes(t *testing.T) {
	repo := openRepo(t, mem.New())
	log := openLog(t, repo)
	for n := range 4 {
		_, err := log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) {
			e := &manifest.Entry{Point: &manifest.Point{Time: time.Date(2026, 11, 20+n/2, 12, n, 0, 0, time.UTC).UnixMilli()}}
			if n == 0 {
				e.Topics = []manifest.TopicChange{{Topic: manifest.Topic{ID: [16]byte{1}, Name: "a", Partitions: 1}}}
				e.Streams = []manifest.NewStream{{Parent: -1}}
			}
			upload(t, repo, log, uint64(n))
			e.Segments = []manifest.Segment{{Counter: uint64(n), Ref: segment.Ref{Size: 100}}}
			e.Ranges = []manifest.Range{{Spans: []manifest.Span{{Offsets: 1}}}}
			if n == 3 {
				e.LogStarts = []manifest.LogStart{{Offset: 3}}
			}
			return e, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p := &retention.Pruner{Repository: repo, Policy: retention.Policy{Rules: retention.Rules{Daily: 1}}, MaxShare: 1, Force: true, Now: time.Now}
	if r, err := p.Prune(t.Context()); err != nil || r.Removed.Segments != 3 || r.Deleted.Segments != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	upload(t, repo, openLog(t, repo), 7)
	if _, err := sweeper(repo, true).Sweep(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	var got []string
	if _, err := repo.Audit(t.Context(), nil, func(a manifest.Action) {
		if a.Kind != manifest.ActionRun && a.Kind != manifest.ActionPoint {
			text := fmt.Sprintf("%s %d", a.Kind, a.Segments)
			if a.Note != nil {
				text += " " + a.Note.Text
			}
			got = append(got, text)
		}
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"delete 0", "delete 0", "delete 0",
		`prune 3 {"points":{"kept":1,"dropped":3},"rules":[{"rule":"older than the last 1 days that have one","kept":0,"dropped":2},{"rule":"not the newest of its day","kept":0,"dropped":1},{"rule":"the newest","kept":1,"dropped":0}],"removed":{"segments":3,"bytes":300},"force":true}`,
		`prune 3 {"deleted":{"segments":3,"bytes":300},"force":true}`,
		`sweep 0 {"orphans":1,"bytes":100,"spared":0,"fenced":1}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
