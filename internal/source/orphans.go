package source

import (
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

// findOrphans lists the segments, and returns those that the log does not name up
// to a state, and all.
func findOrphans(ctx context.Context, st store.Store, s *manifest.State) (orphans map[string]Orphan, all manifest.SegmentSet, err error) {
	var entry store.Info
	if s.Sequence > 0 {
		if entry, err = st.Stat(ctx, manifest.LogKey(s.Sequence)); err != nil {
			return nil, nil, fmt.Errorf("look up the last log entry: %w", err)
		}
	}
	orphans, all = make(map[string]Orphan), make(manifest.SegmentSet)
	err = st.List(ctx, manifest.SegmentPrefix, func(info store.Info) error {
		writer, counter, ok := manifest.ParseSegmentKey(info.Key)
		if !ok {
			return nil
		}
		if all.Add(writer, counter); !s.Segments.Has(writer, counter) {
			orphans[info.Key] = Orphan{info.Key, info.Size, info.Modified.After(entry.Modified)}
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list the segments: %w", err)
	}
	return orphans, all, nil
}

func sortedOrphans(orphans map[string]Orphan) []Orphan {
	var list []Orphan
	for _, o := range orphans {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b Orphan) int { return strings.Compare(a.Key, b.Key) })
	return list
}
