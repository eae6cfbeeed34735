//go:build e2e

package e2e_test

import (
	"maps"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/test/oracle"
)

// What the programs print with -o json, as far as the tests look at it. The names are those that users script against.

type restorePlan struct {
	Point  uint64
	Topics []struct {
		Source                 string
		Incarnation            int
		Target, Action         string
		RecordsAtMost          int64
		Configs                map[string]string
		RecordsBeyondRetention int64
		HoldUntil              *time.Time
		Point                  uint64 // if it has its own
	}
	Groups []struct {
		Group, Type, Problem string
		Offsets              int
	}
	Missing         []missingRange
	Refusals, Notes []string
}

type restoreResult struct {
	Point    uint64
	Complete bool
	Topics   []struct {
		Source, Target, Action       string
		Records                      int64
		RecordsOfAbortedTransactions int64
		RecordsAfterUntil            int64
		LiftRetention                string
		LiftAfter                    *time.Time
		Point                        uint64 // if it has its own
	}
	Groups []struct {
		Group     string
		Type      string
		Committed int
		Clamped   int
		Problems  []string
	}
	Metadata []struct {
		Kind     string
		Applied  int
		Problems []string
	}
	Missing []missingRange
}

type missingRange struct {
	Topic     string
	Partition int32
	From, To  int64
}

type pointContent struct {
	Transactions struct{ Undone int }
	Point        uint64
	Topics       []struct {
		Topic       string
		TopicID     string
		Incarnation int
		Gone        bool
		Partitions  []struct {
			Partition int32
			From, To  int64
		}
	}
	Groups []struct {
		Group, Type string
		Offsets     []struct {
			Topic     string
			Partition int32
			Offset    int64
			Metadata  string
		}
	}
}

// content returns what a recovery point holds, the latest unless one is named.
func (r *repository) content(point ...string) pointContent {
	r.t.Helper()
	return decodeJSON[pointContent](r.t, r.run("restored", nil, append([]string{"show", "-o", "json"}, point...)...))
}

// ends returns where the partitions of a topic, of its present incarnation, end at the point.
func (c pointContent) ends(topic string) map[int32]int64 {
	ends := make(map[int32]int64)
	for _, t := range c.Topics {
		if t.Topic == topic && !t.Gone {
			for _, p := range t.Partitions {
				ends[p.Partition] = p.To
			}
		}
	}
	return ends
}

type pointList struct {
	Points []struct {
		ID   uint64
		Time time.Time
	}
}

// points returns the ids of all recovery points, the newest first.
func (r *repository) points() []uint64 {
	r.t.Helper()
	var ids []uint64
	for _, p := range r.listPoints().Points {
		ids = append(ids, p.ID)
	}
	return ids
}

func (r *repository) listPoints() pointList {
	r.t.Helper()
	return decodeJSON[pointList](r.t, r.run("restored", nil, "list", "--limit", "0", "-o", "json"))
}

// pointAfter waits for a recovery point that holds everything that was acknowledged before a time, and returns its id.
func (r *repository) pointAfter(t testing.TB, at time.Time) uint64 {
	t.Helper()
	var id uint64
	eventually(t, "a recovery point", func() bool {
		o := r.try("restored", nil, "list", "--limit", "1", "-o", "json")
		if o.code != exitOK { // there is no repository yet
			return false
		}
		for _, p := range decodeJSON[pointList](t, o).Points {
			if p.Time.After(at) {
				id = p.ID
			}
		}
		return id > 0
	})
	return id
}

// pointWith waits until the newest recovery point ends where the topics end, and returns its id.
func (r *repository) pointWith(t testing.TB, topics map[string]oracle.History) uint64 {
	t.Helper()
	var id uint64
	eventually(t, "a recovery point with all of it", func() bool {
		o := r.try("restored", nil, "show", "-o", "json")
		if o.code != exitOK { // there is no point yet
			return false
		}
		content := decodeJSON[pointContent](t, o)
		if id = content.Point; content.Transactions.Undone > 0 {
			return false // it was begun before all of it was there
		}
		for topic, h := range topics {
			if !maps.Equal(content.ends(topic), h.Ends()) {
				return false
			}
		}
		return true
	})
	return id
}

type repositoryStatus struct {
	Topics []struct {
		Topic       string
		Incarnation int
		Gone        bool
		Records     int64
	}
}

// awaitRecords waits until the repository holds as many records of an incarnation of a topic.
func (r *repository) awaitRecords(t testing.TB, topic string, incarnation int, records int64) {
	t.Helper()
	eventually(t, "capture of "+topic, func() bool {
		o := r.try("backupd", nil, "status", "-o", "json")
		if o.code != exitOK { // there is no repository yet
			return false
		}
		for _, s := range decodeJSON[repositoryStatus](t, o).Topics {
			if s.Topic == topic && s.Incarnation == incarnation {
				return s.Records >= records
			}
		}
		return false
	})
}

type translations struct {
	Offsets []struct {
		Group, Type, Topic, TargetTopic, Note string
		Partition                             int32
		SourceOffset, TargetOffset            int64
	}
}
