package sink

import (
	"context"
	"time"
)

// snapshotPatience bounds what a snapshot of the log may hold up commits for.
const snapshotPatience = 10 * time.Second

// putSnapshot stores a snapshot of the log if it is time for one, for the next entry
// to state. Nothing depends on it but how fast the log is read.
func (c *committer) putSnapshot(ctx context.Context) {
	state, every := c.ses.log.State(), c.ses.Config.SnapshotEvery
	last := c.tried
	if state.Snapshot != nil {
		last = max(last, state.Snapshot.Sequence)
	}
	if every == 0 || state.Sequence < last+every {
		return
	}
	c.tried = state.Sequence
	ctx, cancel := context.WithTimeout(ctx, snapshotPatience)
	defer cancel()
	began := time.Now()
	ref, err := c.ses.log.PutSnapshot(ctx)
	if err != nil {
		c.ses.Log.Warn("no snapshot of the log: it takes longer to open the repository", "entry", state.Sequence, "error", err)
		return
	}
	c.snapshot = ref
	c.ses.Log.Debug("snapshot of the log", "entry", ref.Sequence, "took", time.Since(began))
}
