package sink

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A partition that nobody serves ends Once, with its name, before and after the
// point is begun. What was captured of the others stays, without a point.
func TestOnceDoesNotWaitForever(t *testing.T) {
	for name, fault := range map[string]kfake.Fault{
		"once it has begun": fetching(kerr.NotLeaderForPartition, -1),
		"at its beginning":  {Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "t", Partitions: []int32{0}, Err: kerr.LeaderNotAvailable, Count: -1},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t, 1)
			p.Config.Patience, p.Config.SegmentAge = 500*time.Millisecond, time.Hour
			p.create("t", 2)
			p.produce("t", 1, 3)
			p.produce("t", 0, 2)
			if name == "at its beginning" { // the repository knows where the partitions begin
				if _, err := p.Once(t.Context()); err != nil {
					t.Fatal(err)
				}
				p.produce("t", 1, 3)
			}
			_, _, before := p.held()
			h := p.fake.Fault(fault)
			_, err := p.Once(t.Context())
			if !errors.Is(err, errStalled) || !strings.Contains(err.Error(), "t-0") || strings.Contains(err.Error(), "t-1") {
				t.Errorf("got %v, want errStalled and t-0 alone", err)
			}
			values, _, state := p.held()
			if len(state.Points) != len(before.Points) || !slices.Equal(values["t-1"], p.want["t-1"]) {
				t.Errorf("points %v, t-1 holds %v", state.Points, values["t-1"])
			}
			h.Remove()
			if _, err := p.Once(t.Context()); err != nil || !p.complete() {
				t.Errorf("afterwards: %v, complete: %v", err, p.complete())
			}
		})
	}
}

// safeBuffer is a log that is read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *safeBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(line)
}

func (b *safeBuffer) count(words string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.String(), words)
}

// Run goes on while a partition holds up the points, and says so once.
func TestRunSaysWhatHoldsPointsUp(t *testing.T) {
	p := newPlant(t, 1)
	var said safeBuffer
	p.Log = slog.New(slog.NewTextHandler(&said, nil))
	p.Config.Patience = 100 * time.Millisecond
	p.create("t", 2)
	p.produce("t", 0, 1)
	h := p.fake.Fault(fetching(kerr.NotLeaderForPartition, -1))
	p.run()
	p.await("a complaint", func() bool { return said.count("held up") > 0 })
	p.produce("t", 1, 5)
	p.await("the other partition", func() bool { values, _, _ := p.held(); return slices.Equal(values["t-1"], p.want["t-1"]) })
	if n := said.count("held up"); n != 1 || said.count("t-0 (at offset 0 of 1") != 1 {
		t.Errorf("said %d times:\n%s", n, said.String())
	}
	h.Remove()
	p.await("all records", p.complete)
	p.await("an end of it", func() bool { return said.count("made again") == 1 })
}
