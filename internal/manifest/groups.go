package manifest

import "sort"

// Group is a consumer group with its committed offsets.
type Group struct {
	ID           string
	Type         string
	ProtocolType string
	Offsets      map[OffsetKey]CommittedOffset
}

// OffsetKey names a partition by topic name, as groups do.
type OffsetKey struct {
	Topic     string
	Partition int32
}

func (k OffsetKey) less(o OffsetKey) bool {
	return k.Topic < o.Topic || k.Topic == o.Topic && k.Partition < o.Partition
}

// CommittedOffset is what a group has committed for a partition.
type CommittedOffset struct {
	Offset   int64
	Epoch    int32
	Metadata string
}

func (o *OffsetChange) key() OffsetKey { return OffsetKey{o.Topic, o.Partition} }

func (s *State) applyGroup(c *GroupChange) {
	if c.Gone {
		delete(s.Groups, c.ID)
		return
	}
	g := s.Groups[c.ID]
	if g == nil {
		g = &Group{ID: c.ID, Offsets: make(map[OffsetKey]CommittedOffset)}
		s.Groups[c.ID] = g
	}
	g.Type, g.ProtocolType = c.Type, c.ProtocolType
	for i := range c.Offsets {
		o := &c.Offsets[i]
		if o.Committed {
			g.Offsets[o.key()] = CommittedOffset{o.Offset, o.Epoch, o.Metadata}
		} else {
			delete(g.Offsets, o.key())
		}
	}
}

// SortedOffsets returns the group's offsets by topic and partition.
func (g *Group) SortedOffsets() []OffsetKey {
	keys := make([]OffsetKey, 0, len(g.Offsets))
	for k := range g.Offsets {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i].less(keys[j]) })
	return keys
}
