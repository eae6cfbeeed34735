package source

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// A rehearsal brings back what is there, in this process and on a cluster, on
// which it leaves nothing.
func TestRehearsal(t *testing.T) {
	f, truths := threeDays(t)
	repo, err := manifest.Open(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, list := range truths[len(truths)-1] {
		want += len(list)
	}
	target := fake(t)
	createTopic(t, target, "orders", 1, nil)
	fill(t, target, "orders", 1)
	for name, cluster := range map[string]*kafka.Cluster{"embedded": nil, "given": connect(t, target)} {
		var said bytes.Buffer
		r := Rehearsal{Repository: repo, At: "latest", Cluster: cluster, Log: slog.New(slog.NewTextHandler(&said, nil))}
		got, err := r.Run(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		lines, embedded := strings.Count(said.String(), "topic created"), strings.Count(said.String(), "cluster=embedded")
		if lines != 4 || (embedded >= lines) != (cluster == nil) {
			t.Errorf("%s: the log says\n%s", name, said.String())
		}
		slices.Sort(got.Topics)
		if got.Records != int64(want) || got.Comparison.Differing() != 0 || !slices.Equal(got.Topics, []string{"empty", "ledger", "orders", "packed"}) || len(got.Comparison.Partitions) != 6 {
			t.Errorf("%s: %+v, %+v", name, got, got.Comparison)
		}
	}
	topics, err := connect(t, target).Topics(t.Context(), nil)
	if err != nil || len(topics) != 1 {
		t.Errorf("left are %+v, %v", topics, err)
	}
	r := Rehearsal{Repository: repo, At: "1", Scope: Scope{Share: 1, Seed: 5}, Log: quiet}
	if got, err := r.Run(t.Context()); err != nil || len(got.Topics) != 1 || got.Point.Sequence != 1 {
		t.Errorf("a sample: %+v, %v", got, err)
	}
}

// An interrupted rehearsal leaves nothing either.
func TestInterruptedRehearsal(t *testing.T) {
	f, _ := threeDays(t)
	repo, err := manifest.Open(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	cluster := connect(t, fake(t))
	ctx, cancel := context.WithCancel(t.Context())
	r := Rehearsal{Repository: repo, At: "latest", Cluster: cluster, Log: quiet, Progress: func(int64) { cancel() }}
	if _, err := r.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if topics, err := cluster.Topics(t.Context(), nil); err != nil || len(topics) != 0 {
		t.Errorf("left are %+v, %v", topics, err)
	}
}

func TestRehearsalIsBounded(t *testing.T) {
	err := bounded([]*TopicPlan{{Bytes: mostEmbedded}, {Bytes: 1}})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "--bootstrap-server") {
		t.Error(err)
	}
	if err := bounded([]*TopicPlan{{Bytes: mostEmbedded}}); err != nil {
		t.Error(err)
	}
}
