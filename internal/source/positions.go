package source

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// What differs about a committed offset.
const (
	CommitMissing    = "missing"
	CommitAdditional = "additional"
	CommitMoved      = "moved"    // another record is next
	CommitMetadata   = "metadata" // the same record is next, but what was committed along with it differs
)

// position is where a group goes on in a partition: at an offset, before which
// lie so many records.
type position struct {
	offset   int64
	records  int64
	metadata string
}

// GroupMismatch is a committed offset that the two sides do not have alike.
type GroupMismatch struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Target    string `json:"target"`
	Partition int32  `json:"partition"`
	What      string `json:"what"`
	Reference *int64 `json:"referenceOffset"` // as it was committed; nil if it was not
	Cluster   *int64 `json:"clusterOffset"`
	// Ahead is by how many records the cluster's group is ahead; negative if it is behind.
	Ahead int64 `json:"ahead"`
}

// compareGroups compares the groups' positions by the records that come next.
func (c *Comparison) compareGroups(ref, cluster map[commitPlace]position, topics []*TopicPlan, places []place) {
	all := slices.Collect(maps.Keys(ref))
	for at := range cluster {
		if _, ok := ref[at]; !ok {
			all = append(all, at)
		}
	}
	slices.SortFunc(all, func(a, b commitPlace) int {
		return cmp.Or(strings.Compare(a.group, b.group), cmp.Compare(a.place, b.place))
	})
	for _, at := range all {
		was, inRef := ref[at]
		is, inCluster := cluster[at]
		t := topics[places[at.place].topic]
		m := GroupMismatch{Group: at.group, Topic: t.Source.Name, Target: t.Target, Partition: places[at.place].partition}
		if inRef {
			m.Reference = &was.offset
		}
		if inCluster {
			m.Cluster = &is.offset
		}
		switch {
		case !inCluster:
			m.What = CommitMissing
		case !inRef:
			m.What = CommitAdditional
		case was.records != is.records:
			m.What, m.Ahead = CommitMoved, is.records-was.records
		case was.metadata != is.metadata:
			m.What = CommitMetadata
		default:
			continue
		}
		c.Groups = append(c.Groups, m)
	}
}
