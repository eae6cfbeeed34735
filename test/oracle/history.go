package oracle

import (
	"cmp"
	"maps"
	"slices"
)

// Record is one record of a partition.
type Record struct {
	Offset   int64
	Identity Identity
	// Marker is the offset of the marker that ended the record's transaction, or 0 for a record without one.
	Marker int64
	// Producer is the id of the transaction's producer; without one it says nothing.
	Producer int64
}

// Log is what a partition holds, or held.
type Log struct {
	Start, End int64    // offsets [Start, End)
	Records    []Record // what a consumer that reads committed records sees, offsets ascending
	Aborted    []Record // of aborted transactions: nobody must see them
}

// Before returns the log as it was when it ended at an offset. Transactions that were open then count as aborted.
func (l Log) Before(end int64) Log {
	cut := Log{Start: l.Start, End: min(l.End, end), Aborted: slices.Clone(before(l.Aborted, end))}
	for _, r := range before(l.Records, end) {
		if r.Marker < end {
			cut.Records = append(cut.Records, r)
		} else {
			cut.Aborted = append(cut.Aborted, r)
		}
	}
	slices.SortFunc(cut.Aborted, func(a, b Record) int { return cmp.Compare(a.Offset, b.Offset) })
	return cut
}

// From returns the log as if it began at an offset.
func (l Log) From(start int64) Log {
	return Log{Start: max(l.Start, start), End: l.End, Records: from(l.Records, start), Aborted: from(l.Aborted, start)}
}

// Next returns the first record at or after an offset: what a consumer that has committed it reads next.
func (l Log) Next(offset int64) (Record, bool) {
	if rest := from(l.Records, offset); len(rest) > 0 {
		return rest[0], true
	}
	return Record{}, false
}

func before(records []Record, end int64) []Record { return records[:search(records, end)] }
func from(records []Record, start int64) []Record { return records[search(records, start):] }

func search(records []Record, offset int64) int {
	i, _ := slices.BinarySearchFunc(records, offset, func(r Record, offset int64) int { return int(min(1, max(-1, r.Offset-offset))) })
	return i
}

// History is what a topic holds, by partition.
type History map[int32]Log

// Before applies Log.Before to each partition, with its own end.
func (h History) Before(ends map[int32]int64) History {
	out := make(History)
	for p, l := range h {
		out[p] = l.Before(ends[p])
	}
	return out
}

// Ends returns where the partitions end.
func (h History) Ends() map[int32]int64 {
	ends := make(map[int32]int64)
	for p, l := range h {
		ends[p] = l.End
	}
	return ends
}

// Len returns the number of records that consumers see.
func (h History) Len() int {
	n := 0
	for _, l := range h {
		n += len(l.Records)
	}
	return n
}

// Partitions returns the partitions in order.
func (h History) Partitions() []int32 { return slices.Sorted(maps.Keys(h)) }
