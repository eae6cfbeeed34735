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

// findOrphans lists the segments that the log does not name up to a state.
func findOrphans(ctx context.Context, st store.Store, s *manifest.State) (map[string]Orphan, error) {
	var entry store.Info
	if s.Sequence > 0 {
		var err error
		if entry, err = st.Stat(ctx, manifest.LogKey(s.Sequence)); err != nil {
			return nil, fmt.Errorf("look up the last log entry: %w", err)
		}
	}
	orphans := make(map[string]Orphan)
	err := st.List(ctx, manifest.SegmentPrefix, func(info store.Info) error {
		if writer, counter, ok := manifest.ParseSegmentKey(info.Key); ok && !s.Segments.Has(writer, counter) {
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
