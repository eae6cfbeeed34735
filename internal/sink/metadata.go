package sink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metadata"
	"golang.org/x/sync/errgroup"
)

const (
	// kindsWithin bounds how long a recovery point of Run may wait for the
	// metadata: it goes on with what was read before. Once has nothing to go on
	// with, and waits as long as for anything else.
	kindsWithin = 5 * time.Second
	// idsEvery is how often transactional ids are read: some applications use new
	// ones all the time, and the list is a long one.
	idsEvery = time.Hour
	// kindsBytes bounds all kinds together, so that an entry of the log can hold
	// them beside what else it says.
	kindsBytes = 32 << 20
)

// kinds is the cluster's metadata as it was last read in a session. The
// observer owns it.
type kinds struct {
	sink    *Sink
	within  time.Duration
	content map[metadata.Kind]*string // nil: not captured
	at      time.Time                 // when it was last read, zero for never
	idsAt   time.Time                 // likewise, with the transactional ids
}

// newKinds begins with what the log says.
func newKinds(ses *session) *kinds {
	k := &kinds{sink: ses.Sink, within: kindsWithin, content: make(map[metadata.Kind]*string)}
	if ses.once {
		k.within = ses.Config.Patience
	}
	for name, m := range ses.state.Metadata {
		k.content[metadata.Kind(name)] = m.Content
	}
	return k
}

// read returns the metadata, and reads it anew if it is time for that. A kind
// that may not be read, or that the cluster does not have, is not captured; one
// that cannot be read just now stays as it was.
func (k *kinds) read(ctx context.Context) map[metadata.Kind]*string {
	if k.at.IsZero() || time.Since(k.at) >= k.sink.Config.KindsEvery {
		k.at = time.Now()
		k.readAll(ctx)
	}
	return maps.Clone(k.content)
}

func (k *kinds) readAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, k.within)
	defer cancel()
	all := metadata.Kinds()
	if time.Since(k.idsAt) < idsEvery {
		all = slices.DeleteFunc(all, func(kind metadata.Kind) bool { return kind == metadata.TransactionalIDs })
	} else {
		k.idsAt = time.Now()
	}
	texts, errs := make([]string, len(all)), make([]error, len(all))
	var g errgroup.Group
	for i, kind := range all {
		before := k.content[kind]
		g.Go(func() error {
			texts[i], errs[i] = metadata.Capture(ctx, k.sink.Cluster, kind, before)
			return nil
		})
	}
	_ = g.Wait() // each has an error of its own
	total := 0
	for i, kind := range all {
		if total += len(texts[i]); errs[i] == nil && total > kindsBytes {
			errs[i] = fmt.Errorf("%w: %d bytes with the kinds before it", metadata.ErrTooLarge, total)
		}
		k.take(kind, texts[i], errs[i])
	}
}

// take notes what was read of a kind.
func (k *kinds) take(kind metadata.Kind, text string, err error) {
	switch {
	case err == nil:
		k.content[kind] = &text
		delete(k.sink.told, kind)
	case errors.Is(err, kafka.ErrAuthorization), errors.Is(err, kafka.ErrUnsupported), errors.Is(err, metadata.ErrTooLarge):
		k.content[kind] = nil
		k.sink.tell(kind, err)
	default:
		k.sink.Log.Warn("metadata of the cluster could not be read, the last known stays", "kind", string(kind), "error", err)
	}
}

// tell logs once why a kind is not captured.
func (s *Sink) tell(kind metadata.Kind, err error) {
	if s.told[kind] == err.Error() {
		return
	}
	if s.told == nil {
		s.told = make(map[metadata.Kind]string)
	}
	s.told[kind] = err.Error()
	s.Log.Info("metadata of the cluster is not captured", "kind", string(kind), "reason", err, "needs", kind.Needs())
}

// metadataChanges compares the cluster's metadata with that of the state.
func metadataChanges(state *manifest.State, now map[metadata.Kind]*string) []manifest.MetadataChange {
	var changes []manifest.MetadataChange
	for _, kind := range slices.Sorted(maps.Keys(now)) {
		old, known := state.Metadata[string(kind)]
		content := now[kind]
		if !known || (old.Content == nil) != (content == nil) || content != nil && *old.Content != *content {
			changes = append(changes, manifest.MetadataChange{Kind: string(kind), Content: content})
		}
	}
	return changes
}
