package source

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// Orphan is a segment that no log entry names. It is no damage: a backupd that
// was killed or fenced leaves such behind, and one that is running has some for
// a moment.
type Orphan struct {
	Key   string
	Bytes int64
	// Newer than the last log entry, by the store's clock: that is also what a log
	// leaves behind from which the last entries were removed.
	Newer bool
}

// named are the segments that a log names, as runs of each writer's counters: a
// set of all keys would grow with the repository.
type named map[manifest.ID][]run

// run are the counters from, …, next - 1.
type run struct{ from, next uint64 }

func (n named) add(_ *manifest.State, e *manifest.Entry) error {
	for i := range e.Segments {
		list, counter := n[e.Writer], e.Segments[i].Counter
		if last := len(list) - 1; last >= 0 && list[last].next == counter {
			list[last].next++
		} else {
			n[e.Writer] = append(list, run{counter, counter + 1})
		}
	}
	return nil
}

// sort makes the set ready to be asked: writers count up, but who says that they did.
func (n named) sort() {
	for _, list := range n {
		slices.SortFunc(list, func(a, b run) int { return cmp.Compare(a.from, b.from) })
	}
}

func (n named) has(writer manifest.ID, counter uint64) bool {
	list := n[writer]
	i, found := slices.BinarySearchFunc(list, counter, func(r run, c uint64) int { return cmp.Compare(r.from, c) })
	return found || i > 0 && counter < list[i-1].next
}

// findOrphans lists the segments that are not among those named by the log up to
// the given entry.
func findOrphans(ctx context.Context, st store.Store, n named, last uint64) (map[string]Orphan, error) {
	n.sort()
	var entry store.Info
	if last > 0 {
		var err error
		if entry, err = st.Stat(ctx, manifest.LogKey(last)); err != nil {
			return nil, fmt.Errorf("look up the last log entry: %w", err)
		}
	}
	orphans := make(map[string]Orphan)
	err := st.List(ctx, manifest.SegmentPrefix, func(info store.Info) error {
		if writer, counter, ok := manifest.ParseSegmentKey(info.Key); ok && !n.has(writer, counter) {
			orphans[info.Key] = Orphan{info.Key, info.Size, info.Modified.After(entry.Modified)}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the segments: %w", err)
	}
	return orphans, nil
}

func sortedOrphans(orphans map[string]Orphan) []Orphan {
	var list []Orphan
	for _, o := range orphans {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b Orphan) int { return strings.Compare(a.Key, b.Key) })
	return list
}
