package source

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Override says what is different for single topics of a restore.
type Override struct {
	Topics            []string           // as Request.Topics, at the override's point; the first one that has a topic counts for it
	At                string             // see Load; empty: as for the rest
	Until             *int64             // nil: as for the rest
	Rename            map[string]string  // counts more than Request.Rename
	ReplicationFactor int16              // 0: as for the rest
	Configs           map[string]*string // count more than those of the backup; nil leaves one to the broker
}

// String names the override in messages.
func (o *Override) String() string { return "the override of " + strings.Join(o.Topics, ", ") }

// configs are those of its own. There may be no override.
func (o *Override) configs() map[string]*string {
	if o == nil {
		return nil
	}
	return o.Configs
}

// checkRename wants the topics of its own names to be among those that it counts for.
func (o *Override) checkRename(counted []Incarnation) error {
	for from, to := range o.Rename {
		if !slices.ContainsFunc(counted, func(i Incarnation) bool { return i.Name == from || i.Label() == from }) {
			return fmt.Errorf("%w: %s: rename %s=%s: it counts for no topic that is called so", ErrRefused, o, from, to)
		}
	}
	return nil
}

// choice is a selected topic, with what counts for it.
type choice struct {
	Incarnation
	from     *Snapshot
	override *Override // or nil
}

// target is the name under which the topic is restored. What of Request.Rename
// names the topic is added to used.
func (c *choice) target(r *Request, used map[string]bool) string {
	name := c.Name
	for _, from := range []string{c.Name, c.Label()} {
		if to, ok := r.Rename[from]; ok {
			name, used[from] = to, true
		}
	}
	if c.override == nil {
		return name
	}
	for _, from := range []string{c.Name, c.Label()} {
		if to, ok := c.override.Rename[from]; ok {
			name = to
		}
	}
	return name
}

// replicas is the replication factor that the topic is created with.
func (c *choice) replicas(r *Request) int16 {
	switch {
	case c.override != nil && c.override.ReplicationFactor > 0:
		return c.override.ReplicationFactor
	case r.ReplicationFactor > 0:
		return r.ReplicationFactor
	}
	return int16(c.ReplicationFactor)
}

// until is the last timestamp that comes back, or nil.
func (c *choice) until(r *Request) *int64 {
	if c.override != nil && c.override.Until != nil {
		return c.override.Until
	}
	return r.Until
}

// renames says whether a topic is to have another name.
func (r *Request) renames() bool {
	return len(r.Rename) > 0 || slices.ContainsFunc(r.Overrides, func(o Override) bool { return len(o.Rename) > 0 })
}

// OwnPoint returns the point that a topic goes back to, and whether it is another
// than that of the plan.
func (p *Plan) OwnPoint(t *TopicPlan) (manifest.PointRef, bool) {
	return t.From.Point, t.From.Point.Sequence != p.Snapshot.Point.Sequence
}

// chooses is what has to be given for the topic to go back to a point.
func (t *TopicPlan) chooses(point uint64) string {
	if t.override != nil && t.override.At != "" {
		return fmt.Sprintf("\"at: %d\" in its override", point)
	}
	return fmt.Sprintf("--at %d", point)
}

// snapshots returns those that the plan's topics come from, the plan's own first.
func (p *Plan) snapshots() []*Snapshot {
	list := []*Snapshot{p.Snapshot}
	for _, t := range p.Topics {
		if !slices.Contains(list, t.From) {
			list = append(list, t.From)
		}
	}
	return list
}

// last returns the snapshot of the greatest point: up to there the log is read.
func (p *Plan) last() *Snapshot {
	return slices.MaxFunc(p.snapshots(), func(a, b *Snapshot) int { return cmp.Compare(a.Point.Sequence, b.Point.Sequence) })
}

// noteOverrides says what overrides mean for what comes back.
func (p *Plan) noteOverrides() {
	for _, s := range p.snapshots()[1:] {
		var names []string
		for _, t := range p.Topics {
			if t.From == s {
				names = append(names, t.Source.Label())
			}
		}
		topics := strings.Join(names, ", ")
		if s.Point.Sequence != p.Snapshot.Point.Sequence {
			p.note("%s: as of point %d of %s, not %d: transactions that wrote there and to other topics may come back in part, and the offsets of groups there are those of then",
				topics, s.Point.Sequence, Clock(s.Point.Time), p.Snapshot.Point.Sequence)
		}
		if s.future {
			p.note("%s: the time in the override is yet to come: this is the newest recovery point that there is now", topics)
		}
		if s.damage != "" && p.Snapshot.damage == "" {
			p.note("%s", s.damage)
		}
	}
	for _, c := range p.absent {
		p.note("%s is not restored: %s counts for it, and at point %d there was no such topic", c.Label(), c.override, c.from.Point.Sequence)
	}
	for _, t := range p.Topics {
		if t.Until != nil && t.Until != p.Request.Until {
			p.note("%s: records with a timestamp after %s are left out", t.Target, Clock(*t.Until))
		}
		if len(t.override.configs()) > 0 && t.append {
			p.note("%s: the configs of its override are not set on a topic that held records before", t.Target)
		}
	}
}
