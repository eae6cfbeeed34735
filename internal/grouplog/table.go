package grouplog

import (
	"maps"
	"strings"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Table is what all groups have committed, as of some offset of each partition
// of the log.
type Table struct {
	groups  map[string]*group
	changed map[string]bool
	ids     map[string]kafka.TopicID // as they were told last, by name
}

type group struct {
	kinds   map[string]kind // what the group was said to be, by type
	commits map[manifest.OffsetKey]commit
	ended   map[manifest.OffsetKey]int64 // where commits that are gone were taken back
}

// kind is what a record says about a group of one type.
type kind struct {
	protocol string
	gone     bool
	at       int64 // offset of the record in the log
}

// commit is one that is in force.
type commit struct {
	manifest.CommittedOffset
	topic kafka.TopicID
	at    int64 // offset of its record in the log
}

// NewTable returns a table without groups.
func NewTable() *Table {
	return &Table{groups: make(map[string]*group), changed: make(map[string]bool), ids: make(map[string]kafka.TopicID)}
}

// Begin takes over what groups had committed before the first record that is
// put in.
func (t *Table) Begin(groups map[string]*manifest.Group) {
	for id, g := range groups {
		own := t.group(id)
		own.kinds[g.Type] = kind{protocol: g.ProtocolType, at: -1}
		for key, o := range g.Offsets {
			own.commits[key] = commit{CommittedOffset: o, at: -1}
		}
	}
}

func (t *Table) group(id string) *group {
	g := t.groups[id]
	if g == nil {
		g = &group{kinds: make(map[string]kind), commits: make(map[manifest.OffsetKey]commit), ended: make(map[manifest.OffsetKey]int64)}
		t.groups[id] = g
	}
	return g
}

// Put lets a record count. Records may come in any order and more than once: of
// several about the same, that with the greatest offset in the log is in force.
// The state of restores into the cluster is left out.
func (t *Table) Put(r *Record) {
	if strings.HasPrefix(r.Group, manifest.RestoreGroups) {
		return
	}
	g := t.group(r.Group)
	t.changed[r.Group] = true
	if r.Commit.Topic == "" {
		if was, ok := g.kinds[r.Type]; !ok || was.at <= r.At {
			g.kinds[r.Type] = kind{r.ProtocolType, r.Gone, r.At}
		}
		return
	}
	key := manifest.OffsetKey{Topic: r.Commit.Topic, Partition: r.Commit.Partition}
	if was, ok := g.commits[key]; ok && was.at > r.At || g.ended[key] > r.At {
		return
	}
	if r.Gone {
		delete(g.commits, key)
		g.ended[key] = r.At
		return
	}
	delete(g.ended, key)
	g.commits[key] = commit{
		CommittedOffset: manifest.CommittedOffset{Offset: r.Commit.Offset, Epoch: r.Commit.LeaderEpoch, Metadata: r.Commit.Metadata},
		topic:           r.TopicID, at: r.At,
	}
}

// PutAll lets records count.
func (t *Table) PutAll(records Records) {
	for _, r := range records {
		t.Put(&r)
	}
}

// Forget drops what is kept of commits that are gone. It may be called when no
// record will be put in any more that has been passed over already.
func (t *Table) Forget() {
	for id, g := range t.groups {
		clear(g.ended)
		maps.DeleteFunc(g.kinds, func(_ string, k kind) bool { return k.gone })
		if len(g.kinds) == 0 && len(g.commits) == 0 {
			delete(t.groups, id)
		}
	}
}

// Changes returns the groups of which something was put in since it was last
// called, as they are: nil for those that are gone. ids says which topic a name stands for; what was
// committed for another one of that name is left out.
func (t *Table) Changes(ids map[string]kafka.TopicID) map[string]*manifest.Group {
	t.recall(ids)
	list := make(map[string]*manifest.Group, len(t.changed))
	for id := range t.changed {
		list[id] = t.state(id, ids)
	}
	clear(t.changed)
	return list
}

// All returns all groups as they are, and counts them as told.
func (t *Table) All(ids map[string]kafka.TopicID) map[string]*manifest.Group {
	t.recall(ids)
	list := make(map[string]*manifest.Group, len(t.groups))
	for id := range t.groups {
		if g := t.state(id, ids); g != nil {
			list[id] = g
		}
	}
	clear(t.changed)
	return list
}

// recall takes over which topics names stand for. Groups that have committed for
// one that stands for another topic by now have changed.
func (t *Table) recall(ids map[string]kafka.TopicID) {
	again := make(map[string]bool)
	for name, id := range ids {
		if was, ok := t.ids[name]; ok && was != id {
			again[name] = true
		}
		t.ids[name] = id
	}
	if len(again) == 0 {
		return
	}
	for id, g := range t.groups {
		for key := range g.commits {
			if again[key.Topic] {
				t.changed[id] = true
			}
		}
	}
}

// state returns a group, or nil if there is nothing of it.
func (t *Table) state(id string, ids map[string]kafka.TopicID) *manifest.Group {
	own := t.groups[id]
	if own == nil || !own.there() {
		return nil
	}
	g := &manifest.Group{ID: id, Type: "classic", Offsets: make(map[manifest.OffsetKey]manifest.CommittedOffset, len(own.commits))}
	for name, k := range own.kinds {
		if !k.gone {
			g.Type, g.ProtocolType = name, k.protocol // one that changes its type is gone as what it was before
		}
	}
	for key, c := range own.commits {
		if now, ok := ids[key.Topic]; !ok || c.topic == (kafka.TopicID{}) || c.topic == now {
			g.Offsets[key] = c.CommittedOffset
		}
	}
	return g
}

// there says whether the group has anything.
func (g *group) there() bool {
	for _, k := range g.kinds {
		if !k.gone {
			return true
		}
	}
	return len(g.commits) > 0
}
