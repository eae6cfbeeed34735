package sink

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
)

// A selection that nothing matches looks like a cluster that has lost its
// topics. Once makes no point of it, and nothing in the repository is gone.
func TestOnceSelectsNothing(t *testing.T) {
	p := newPlant(t, 1)
	if err := p.Check(t.Context()); !errors.Is(err, ErrNoTopics) {
		t.Errorf("Check of an empty cluster: %v", err)
	}
	if _, err := p.Once(t.Context()); !errors.Is(err, ErrNoTopics) {
		t.Errorf("an empty cluster: %v", err)
	}
	p.create("t", 1)
	p.produce("t", 0, 1)
	if _, err := p.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _, before := p.held()
	var said safeBuffer
	p.Log = slog.New(slog.NewTextHandler(&said, nil))
	p.Config.Topics, _ = pattern.Parse([]string{"nosuch*"})
	if _, err := p.Once(t.Context()); !errors.Is(err, ErrNoTopics) {
		t.Errorf("a selection without a match: %v", err)
	}
	if said.count("gone") > 0 {
		t.Errorf("it says:\n%s", said.String())
	}
	if _, _, state := p.held(); state.Sequence != before.Sequence || len(state.Points) != 1 || state.Topics[0].Gone {
		t.Errorf("entries %d, points %v, topics %+v", state.Sequence, state.Points, state.Topics)
	}
}

// A pattern that matches nothing beside others that do is warned of, but not those of
// the defaults.
func TestPatternsWithoutAMatch(t *testing.T) {
	p := newPlant(t, 1)
	p.create("orders", 1)
	for _, test := range []struct {
		patterns []string
		want     string
	}{
		{[]string{"orders", "ordres-*", "!ordres", "!__*"}, `patterns="[ordres-* !ordres]"`},
		{[]string{"*", "!__*"}, ""},
	} {
		var said safeBuffer
		p.Log = slog.New(slog.NewTextHandler(&said, nil))
		p.Config.Topics, _ = pattern.Parse(test.patterns)
		if _, err := p.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := said.count("match no topic"); (n == 1) != (test.want != "") || n > 1 || said.count(test.want) == 0 {
			t.Errorf("%q: it says:\n%s", test.patterns, said.String())
		}
	}
}

// Run waits for a topic that is selected; only then are others gone.
func TestRunSelectsNothing(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	if _, err := p.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	var said safeBuffer
	p.Log = slog.New(slog.NewTextHandler(&said, nil))
	p.Config.Topics, _ = pattern.Parse([]string{"late*"})
	p.run()
	p.await("a warning", func() bool { return said.count("no topic of the cluster is selected") > 0 })
	time.Sleep(10 * p.Config.MetadataEvery)
	if _, _, state := p.held(); len(state.Points) != 1 || state.Topics[0].Gone {
		t.Errorf("points %v, topics %+v", state.Points, state.Topics)
	}
	if said.count("no topic of the cluster is selected") != 1 || said.count("gone") > 0 {
		t.Errorf("it says:\n%s", said.String())
	}
	p.create("later", 1)
	p.produce("later", 0, 3)
	p.await("the topic that was waited for", p.complete)
	p.await("the other to be gone", func() bool { _, _, state := p.held(); return state.Topics[0].Gone })
	p.await("that it is said", func() bool { return said.count("not selected any more") == 1 })
}

// The last topic may go while Run watches: that is what happened to the cluster.
func TestLastTopicIsDeleted(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.run()
	p.await("a point", func() bool { _, _, state := p.held(); return len(state.Points) > 0 })
	if err := p.fake.DeleteTopic("t"); err != nil {
		t.Fatal(err)
	}
	p.await("its end", func() bool { _, _, state := p.held(); return state.Topics[0].Gone })
}

// What Run has seen counts for its next session, too.
func TestLastTopicIsDeletedDuringAnOutage(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.produce("t", 0, 1)
	gate := &outage{Store: p.Repository.Store(), down: make(chan struct{})}
	var err error
	if p.Repository, err = manifest.Open(t.Context(), gate); err != nil {
		t.Fatal(err)
	}
	var said safeBuffer
	p.Log = slog.New(slog.NewTextHandler(&said, nil))
	p.run()
	p.await("an interruption", func() bool { return said.count("capture interrupted") > 0 })
	if err := p.fake.DeleteTopic("t"); err != nil {
		t.Fatal(err)
	}
	close(gate.down)
	p.await("a point without it", func() bool { _, _, state := p.held(); return len(state.Points) > 0 })
}

// What an operator wants to see in the log: that partitions are added, and that
// a signal has arrived.
func TestRunSaysWhatHappens(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	var said safeBuffer
	p.Log = slog.New(slog.NewTextHandler(&said, nil))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	p.await("a point", func() bool { _, _, state := p.held(); return len(state.Points) > 0 })
	if _, err := kadm.NewClient(p.user).CreatePartitions(t.Context(), 2, "t"); err != nil {
		t.Fatal(err)
	}
	p.await("that partitions are added", func() bool { return said.count(`msg="partitions added" topic=t partitions=3 before=1`) == 1 })
	if said.count("stopping") > 0 {
		t.Errorf("before the end it says:\n%s", said.String())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if said.count("stopping: sealing and committing") != 1 || said.count("partitions added") != 1 {
		t.Errorf("it says:\n%s", said.String())
	}
}

// A cluster that hangs is named, once, and so is the end of that.
func TestRunSaysThatNoBrokerAnswers(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	var said safeBuffer
	p.Log = slog.New(slog.NewTextHandler(&said, nil))
	p.Config.Silence = 200 * time.Millisecond
	p.run()
	p.await("a point", func() bool { _, _, state := p.held(); return len(state.Points) > 0 })
	before, once := said.count("no broker answers"), sync.Once{}
	p.fake.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		once.Do(func() { time.Sleep(time.Second) })
		return nil, nil, false
	})
	p.await("a warning", func() bool { return said.count("no broker answers") > before })
	p.await("the end of it", func() bool { return said.count("brokers answer again") > before })
}
