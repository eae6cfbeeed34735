package source

import (
	"hash/maphash"
	"slices"

	"github.com/offsite-kafka/offsite/internal/batch"
)

// What differs first in a partition.
const (
	MismatchMissing    = "missing"    // a record that the reference has
	MismatchAdditional = "additional" // a record that it does not have
	MismatchChanged    = "changed"    // a record in its place has other content
	MismatchOrder      = "order"      // both records are there, in another order
	MismatchUnsteady   = "unsteady"   // it was gone when it was looked for: somebody changes the partition
)

// Mismatch is the first difference between two partitions.
type Mismatch struct {
	What   string   `json:"what"`
	Fields []string `json:"fields,omitempty"` // of what is changed: timestamp, key, value, headers
	// Equal is how many records before it are the same on both sides.
	Equal int64 `json:"equalBefore"`
	// The records at which the sides part; nil for a side that ends there.
	Reference *int64 `json:"referenceOffset"`
	Cluster   *int64 `json:"clusterOffset"`
}

// sighting is a record as far as it takes to tell it from others.
type sighting struct {
	offset    int64
	timestamp int64
	key       uint64
	value     uint64
	headers   uint64
}

func sight(seed maphash.Seed, r *batch.Record) sighting {
	s := sighting{offset: r.Offset, timestamp: r.Timestamp, key: hashOf(seed, r.Key()), value: hashOf(seed, r.Value())}
	for key, value := range r.Headers() {
		s.headers = maphash.Comparable(seed, [3]uint64{s.headers, hashOf(seed, key), hashOf(seed, value)})
	}
	return s
}

// hashOf tells null from empty.
func hashOf(seed maphash.Seed, b []byte) uint64 {
	if b == nil {
		return 0
	}
	return maphash.Bytes(seed, b) | 1
}

// same says whether two records are the same for a consumer.
func same(a, b sighting) bool {
	a.offset = b.offset
	return a == b
}

// window is the beginning of what is left of a partition on one side.
type window struct {
	records []sighting
	ends    bool  // with the partition
	total   int64 // records of the partition
}

// from returns the window without its first n records.
func (w window) from(n int) window {
	w.records = w.records[min(n, len(w.records)):]
	return w
}

func (w window) has(s sighting) bool {
	return slices.ContainsFunc(w.records, func(o sighting) bool { return same(o, s) })
}

// agreement is how many records two windows begin with in common, and whether
// nothing contradicts that they are the same to the end.
func agreement(a, b window) (n int, whole bool) {
	least := min(len(a.records), len(b.records))
	for n < least && same(a.records[n], b.records[n]) {
		n++
	}
	return n, n == least && (n == len(a.records) || !b.ends) && (n == len(b.records) || !a.ends)
}

// explain says where two windows part, and how.
func explain(ref, live window) *Mismatch {
	n, _ := agreement(ref, live)
	ref, live = ref.from(n), live.from(n)
	m := &Mismatch{Equal: int64(n)}
	if len(ref.records) > 0 {
		m.Reference = &ref.records[0].offset
	}
	if len(live.records) > 0 {
		m.Cluster = &live.records[0].offset
	}
	switch {
	case m.Reference == nil && m.Cluster == nil:
		m.What = MismatchUnsteady
	case m.Cluster == nil:
		m.What = MismatchMissing
	case m.Reference == nil:
		m.What = MismatchAdditional
	default:
		m.What = judge(ref, live)
	}
	if m.What == MismatchChanged {
		m.Fields = fields(ref.records[0], live.records[0])
	}
	return m
}

// judge takes the explanation after which everything else is the same; then a
// change of order; then the one after which most is.
func judge(ref, live window) string {
	best, longest := MismatchChanged, 0
	for _, x := range explanations(ref, live) {
		n, whole := agreement(x.ref, x.live)
		if whole {
			return x.what
		}
		if n > longest {
			best, longest = x.what, n
		}
	}
	if live.has(ref.records[0]) && ref.has(live.records[0]) {
		return MismatchOrder
	}
	return best
}

// explanation is what would be the same if what differs is what it says.
type explanation struct {
	what      string
	ref, live window
}

// explanations returns them all, those first that explain the numbers of records.
func explanations(ref, live window) []explanation {
	changed := explanation{MismatchChanged, ref.from(1), live.from(1)}
	var missing, additional []explanation
	for n := 1; n <= leastInterval/2; n++ {
		if n <= len(ref.records) {
			missing = append(missing, explanation{MismatchMissing, ref.from(n), live})
		}
		if n <= len(live.records) {
			additional = append(additional, explanation{MismatchAdditional, ref, live.from(n)})
		}
	}
	switch {
	case ref.total > live.total:
		return append(append(missing, changed), additional...)
	case ref.total < live.total:
		return append(append(additional, changed), missing...)
	}
	return append(append([]explanation{changed}, missing...), additional...)
}

// fields names what two records do not have alike.
func fields(a, b sighting) (list []string) {
	for _, f := range []struct {
		name    string
		differs bool
	}{
		{"timestamp", a.timestamp != b.timestamp}, {"key", a.key != b.key}, {"value", a.value != b.value}, {"headers", a.headers != b.headers},
	} {
		if f.differs {
			list = append(list, f.name)
		}
	}
	return list
}
