package sink

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// errStalled ends Once without a point, but in order: what it has is sealed and
// committed.
var errStalled = errors.New("no recovery point, because nothing has advanced")

// pace is how far a recovery point is.
type pace struct {
	missing int64     // offsets
	stored  int64     // bytes of the open segment
	since   time.Time // when one of the two has changed last
}

// stalled returns an error that names what is missing if for a long time nothing
// has come of it.
func (o *observer) stalled(now time.Time) error {
	if o.next == nil {
		o.pace = pace{}
		return nil
	}
	at := pace{missing: o.ses.table.behind(o.targets), since: now}
	if o.ses.once { // others go on and on
		at.stored = o.ses.segmentBytes.Load()
	}
	if o.pace.since.IsZero() || at.missing != o.pace.missing || at.stored != o.pace.stored {
		o.pace = at
		return nil
	}
	if now.Sub(o.pace.since) < o.ses.Config.Patience {
		return nil
	}
	return fmt.Errorf("%w for %s: %s", errStalled, o.ses.Config.Patience, few(o.ses.table.laggards(o.targets)))
}

// complain says that recovery points are held up, each reason once.
func (o *observer) complain(err error, since time.Time) {
	if o.complaint == "" {
		o.heldUp = since
	}
	if text := err.Error(); text != o.complaint {
		o.ses.Log.Warn("recovery points are held up, trying again", "since", o.heldUp.UTC(), "error", err)
		o.complaint = text
	}
}

// relax is the end of what complain has said.
func (o *observer) relax() {
	if o.complaint != "" {
		o.ses.Log.Info("recovery points are made again", "after", time.Since(o.heldUp).Round(time.Second))
	}
	o.complaint = ""
}

// laggards says which streams have not reached their targets, and how far they
// are.
func (t *table) laggards(targets map[manifest.StreamKey]int64) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []string
	for k, target := range targets {
		s := t.streams[k]
		if s == nil || s.enqueued >= target && s.isConfirmed() {
			continue
		}
		state := fmt.Sprintf("led by broker %d", s.leader)
		if s.leader < 0 {
			state = "without a leader"
		}
		list = append(list, fmt.Sprintf("%s-%d (at offset %d of %d, %s)", s.topic, k.Partition, s.enqueued, target, state))
	}
	return list
}

// few lists names, but not too many of them.
func few(names []string) string {
	const most = 5
	slices.Sort(names)
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// listen warns if a request that any broker can answer is not answered for long.
// Whoever calls it says how the request ended.
func (ses *session) listen() (end func(error)) {
	began := time.Now()
	timer := time.AfterFunc(ses.Config.Silence, func() {
		if !ses.silent.Swap(true) {
			ses.Log.Warn("no broker answers", "since", began.UTC())
		}
	})
	return func(err error) {
		timer.Stop()
		if err == nil && ses.silent.Swap(false) {
			ses.Log.Info("brokers answer again")
		}
	}
}
