package source

import (
	"fmt"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Report is the outcome of a verification.
type Report struct {
	Level    manifest.Level
	Share    int64
	Seed     uint64
	First    uint64 // entry from which on segments were looked at
	Whole    string // with Scope.SinceLast: why that is the first one, if it is
	LogFirst uint64 // entry from which on the log was read
	Entries  uint64 // of the log
	LogUntil uint64 // the entry that the repository was read until, 0 for all there are
	Points   int
	Archive  bool  // it has these points alone, see manifest.ErrArchive
	Segments int64 // that were looked at
	There    int64 // segments that may be read
	Bytes    int64 // stored, of these
	Read     int64 // of these bytes, those that were read
	Blocks   int64
	Batches  int64 // from LevelDecode on
	Records  int64 // in data batches, decoded one by one from LevelDecode on
	// Of what was moved: ranges that were held against the originals which are still there, and
	// those where that could not be done, since a block is encrypted or an original is damaged.
	Compared, Uncompared int64
	Gaps                 []GapNote
	Damages              []DamageNote
	Losses               []LossNote // that the log states: nothing new
	Orphans              []Orphan   // by key
	// Restorable says what can still be brought back, of the points from the oldest
	// to the newest.
	Restorable []PointRun
	Rehearsed  *Rehearsed // at LevelReplay, unless there is damage

	head uint64 // the last entry up to which everything was checked: of what came while it was, only the segments were
}

// Differing is how many differences a restore has from what it was to bring back.
func (r *Report) Differing() int {
	if r.Rehearsed == nil {
		return 0
	}
	return r.Rehearsed.Comparison.Differing()
}

// DamageNote is an object that is damaged or missing, and what it costs.
type DamageNote struct {
	Key      string
	Position int64 // of the first byte of what is bad in it: a block, or the footer; 0 for the whole object
	Reason   string
	Lost     []LostRange
	Entries  uint64 // of a log entry: nothing of the log from this one on can be read; else 0

	contradicts bool // it is what its digests say, and that cannot be

	entry   uint64 // that names the object
	segment int    // of its segments
	ref     manifest.Segment
	claims  []stretch
}

// LostRange are offsets that cannot be restored.
type LostRange struct {
	Topic     string
	Key       manifest.StreamKey
	From, To  int64
	inStreams []int // of the log
}

func (l LostRange) String() string {
	return fmt.Sprintf("%s-%d [%d,%d)", l.Topic, l.Key.Partition, l.From, l.To)
}
