//go:build e2e

package e2e_test

import "time"

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
	}
	Groups []struct {
		Group, Problem string
		Offsets        int
	}
	Refusals, Notes []string
}

type restoreResult struct {
	Point    uint64
	Complete bool
	Topics   []struct {
		Source, Target, Action       string
		Records                      int64
		RecordsOfAbortedTransactions int64
		LiftRetention                string
		LiftAfter                    *time.Time
	}
	Groups []struct {
		Group     string
		Committed int
		Problems  []string
	}
}

type pointContent struct {
	Point  uint64
	Topics []struct {
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
