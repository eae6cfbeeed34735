package source

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// Request says what to restore and how.
type Request struct {
	At                string   // see Load
	Topics            []string // see Snapshot.Select; empty: all
	Rename            map[string]string
	Append            bool          // into topics that hold records already
	HoldRetention     time.Duration // how much longer restored records are kept
	ReplicationFactor int16         // 0: as in the source
	Until             *int64        // leave out records with a later timestamp, in ms since 1970
	Vector            Vector        // ends partitions before the point does
	AcceptGap         bool          // restore although records are missing, see Plan.Lost
	Parts             []string      // see Parts; empty: topics and their configs
	Overrides         []Override    // what is different for single topics
}

// Action is what a plan does with a target topic.
type Action string

// The actions.
const (
	ActionCreate Action = "create" // it does not exist
	ActionFill   Action = "fill"   // it exists and is empty
	ActionAppend Action = "append" // it holds records already
	ActionResume Action = "resume" // an earlier run of this restore was interrupted
	ActionNone   Action = "none"   // an earlier run of this restore has done everything
)

// Plan is everything that a restore will do. It is the same for plan and run.
type Plan struct {
	Snapshot *Snapshot
	Request  Request
	Topics   []*TopicPlan
	Groups   []GroupPlan
	Gaps     []GapNote
	Lost     []GapNote // those gaps which cost records that were there at the point, or at the time asked for
	Segments int       // objects to read
	Bytes    int64     // stored bytes to read of them
	// Metadata are the differences in the kinds that are asked for, and in those
	// that nobody can restore.
	Metadata []Difference
	// Refusals are the reasons why run would not begin, each with what to do.
	Refusals []string
	// Notes are what the operator should know; they do not stop anything.
	Notes []string
	// Verified are the last verifications of the repository that the log tells of, by level.
	Verified []VerifiedContent

	tracks   []*track
	byStream map[int]*track
	txns     map[*track]*txnIndex
	sizes    map[*track]int64 // raw bytes
	defaults brokerDefaults
	state    *restoreState
	absent   []choice // see moments
	past     *past
	target   string // the cluster's id, empty without one

	generations map[int]bool // of the keys that it takes to read the records
}

// TopicPlan is the plan for one topic.
type TopicPlan struct {
	Source            Incarnation
	From              *Snapshot // that it comes from: Plan.Snapshot, or its own
	Target            string
	Action            Action
	Partitions        int32
	ReplicationFactor int16
	Records           int64               // at most: with those of aborted transactions
	Bytes             int64               // raw, as captured
	Reencoded         int64               // those of them that are stored otherwise since a merge
	OpenTransactions  int                 // open at the point: their records do not come back
	Until             *int64              // leave out records with a later timestamp; nil for none
	Configs           []kafka.ConfigEntry // of the backup or an override, to be set at last; none with append
	Unset             []string            // configs that an override leaves to the broker
	Kept              []kafka.ConfigEntry // of a target that exists: set on it already, and left as they are
	HoldUntil         time.Time           // with --hold-retention: when the real retention may be set
	Held              []kafka.ConfigEntry

	// Expiring is how many of the records the target's retention would delete
	// at once, in whole blocks: at least so many, of the oldest time Oldest.
	Expiring int64
	Oldest   int64 // ms since 1970, least timestamp of a record; MaxInt64 for none

	override  *Override         // that counts for it, or nil
	inForce   map[string]string // with append: the target's own configs, which it keeps
	id        kafka.TopicID     // of the target, once it exists
	oversized bool              // a partition has more bytes than the target's retention allows
	append    bool              // the target held records before this restore, now or in an earlier run
	filled    bool              // by an earlier run; what lies behind the end is its users'
	starts    []int64           // by partition: where the restored records begin
	lost      []string          // what of Plan.Lost is of this topic, see Plan.accepted
	accepted  []string          // likewise, what an earlier run has accepted
	producer  producerID        // 0 epoch and id -1 until known
	buildTo   int               // see buildToFor
	takes     int               // the largest batch in bytes that the target takes now, 0 if that is not known
	fit       int               // likewise as of the begin of the restore: batches are made to fit it

	oversizedBatches int // that do not fit, as far as the footers tell
}

// GapNote names offsets that the backup does not have.
type GapNote struct {
	Topic     string
	Partition int32
	From, To  int64
	Reason    string
}

// Plan plans a restore of what the request selects. Cluster is nil for a plan that looks at the repository only.
func (s *Snapshot) Plan(ctx context.Context, cluster *kafka.Cluster, req Request, now time.Time) (*Plan, error) {
	m, err := s.moments(ctx, &req, now)
	if err != nil {
		return nil, err
	}
	return m.plan(ctx, cluster, req, now)
}

func (m *moments) plan(ctx context.Context, cluster *kafka.Cluster, req Request, now time.Time) (*Plan, error) {
	s := m.rest
	p := &Plan{Snapshot: s, Request: req, txns: make(map[*track]*txnIndex), sizes: make(map[*track]int64), generations: make(map[int]bool), defaults: defaultsOf(kafkaDefaults())}
	if cluster != nil {
		p.target = cluster.ID()
		if err := p.planMetadata(ctx, cluster); err != nil {
			return nil, err
		}
	}
	if !req.has(PartTopics) {
		return p, nil
	}
	chosen, err := m.choose(&req)
	if err != nil {
		return nil, err
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("%w: no topic at recovery point %d is selected", ErrNothing, s.Point.Sequence)
	}
	if p.Snapshot, err = s.cutChosen(req.Vector, chosen); err != nil {
		return nil, err
	}
	if err := p.addTopics(chosen); err != nil {
		return nil, err
	}
	p.absent = m.absent
	p.addTracks()
	for _, t := range p.Topics {
		t.buildTo = buildToFor(len(p.tracks))
	}
	if err := p.addGroups(ctx); err != nil {
		return nil, err
	}
	if cluster != nil {
		if err := p.checkTarget(ctx, cluster); err != nil {
			return nil, err
		}
	}
	if err := p.readFooters(ctx, now); err != nil {
		return nil, p.onDamage(err)
	}
	for _, t := range p.Topics {
		if p.Request.HoldRetention > 0 && t.takesConfigs() {
			t.hold(p.Request.HoldRetention, now, p.defaults.unknown && t.leavesRetention())
		}
	}
	p.addLate()
	if cluster != nil {
		p.checkKeys()
	}
	p.judgeLost()
	p.addNotes()
	return p, nil
}

// addTopics names the targets.
func (p *Plan) addTopics(chosen []choice) error {
	names := make(map[string]string)
	used := make(map[string]bool)
	for _, c := range chosen {
		t := &TopicPlan{
			Source: c.Incarnation, From: c.from, Target: c.target(&p.Request, used), Partitions: c.Partitions, ReplicationFactor: c.replicas(&p.Request),
			Until: c.until(&p.Request), Oldest: math.MaxInt64, override: c.override, producer: producerID{id: -1},
		}
		if other, taken := names[t.Target]; taken {
			p.Refusals = append(p.Refusals, fmt.Sprintf("%s and %s would both go to topic %s: use --rename %s=NEW", other, c.Label(), t.Target, c.Label()))
		}
		names[t.Target] = c.Label()
		t.starts = make([]int64, t.Partitions)
		p.takeConfigs(t)
		p.Topics = append(p.Topics, t)
	}
	for from := range p.Request.Rename {
		if !used[from] {
			return fmt.Errorf("%w: --rename %s=%s: no selected topic is called so", ErrRefused, from, p.Request.Rename[from])
		}
	}
	return nil
}

// readFooters sums up what the restore will read.
func (p *Plan) readFooters(ctx context.Context, now time.Time) error {
	for _, t := range p.tracks {
		p.txns[t] = newTxnIndex()
	}
	for _, s := range p.snapshots() {
		for _, x := range s.State.Transactions {
			if t := p.byStream[x.Stream]; t != nil && p.Topics[t.topic].From == s && !(x.Kind == manifest.TxnDecided && t.moved) {
				p.txns[t].heed(x)
			}
		}
	}
	p.past = p.newPast()
	err := p.last().walk(ctx, p.byStream, p.past, func(key string, parts []part) error {
		p.Segments++
		p.noteDamaged(key, parts)
		for i := range parts {
			p.addPart(&parts[i], now)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, g := range p.past.gaps {
		p.Gaps = append(p.Gaps, GapNote{p.Topics[g.track.topic].Source.Name, g.track.partition, g.from, g.to, g.Reason.String()})
		p.addLost(g)
	}
	p.noteMoreDamage()
	p.Verified = VerifiedContents(p.last().head)
	if err := p.addRemoved(ctx); err != nil {
		return err
	}
	for _, t := range p.tracks {
		p.Topics[t.topic].OpenTransactions += p.txns[t].close()
	}
	return nil
}

// checkKeys refuses to begin what ends at the first block, with topics that are
// empty.
func (p *Plan) checkKeys() {
	for _, generation := range slices.Sorted(maps.Keys(p.generations)) {
		if err := p.Snapshot.Repository.OpensRecords(generation); err != nil {
			p.refuse("%v (encryption.identityFile, or the environment variable OFFSITE_IDENTITY, has the identity)", err)
			return
		}
	}
}

func (p *Plan) addPart(part *part, now time.Time) {
	k := part.block
	p.Bytes += k.StoredLength
	t := p.Topics[part.track.topic]
	if k.Key != nil && t.Action != ActionNone {
		p.generations[k.Key.Generation] = true
	}
	p.addOversized(part)
	t.Records += part.records()
	t.Bytes += k.ServedLength()
	if k.Codec == segment.Reencoded {
		t.Reencoded += k.Served
	}
	for _, e := range k.Events {
		if e.Offset < part.hi {
			p.txns[part.track].add(e)
		}
	}
	if k.Records == 0 {
		return
	}
	t.Oldest = min(t.Oldest, k.MinTimestamp)
	ms, bytes := t.retention(p.defaults)
	if ms >= 0 && k.MaxTimestamp < now.UnixMilli()-ms {
		t.Expiring += k.Records
	}
	p.sizes[part.track] += k.ServedLength()
	t.oversized = t.oversized || bytes >= 0 && p.sizes[part.track] > bytes
}

func (p *Plan) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

func (p *Plan) refuse(format string, args ...any) {
	p.Refusals = append(p.Refusals, fmt.Sprintf(format, args...))
}

// Records is how many records the plan brings back at most.
func (p *Plan) Records() (n int64) {
	for _, t := range p.Topics {
		n += t.Records
	}
	return n
}
