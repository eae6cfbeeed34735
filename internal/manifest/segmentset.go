package manifest

import (
	"bytes"
	"cmp"
	"iter"
	"maps"
	"slices"
)

// SegmentSet are segments, as runs of each writer's counters: writers count up, so
// that it stays small where a list of names would grow with the repository. It is
// not safe for concurrent use while it is changed. The zero value is empty and
// cannot be added to.
type SegmentSet map[ID][]CounterRun

// CounterRun are the counters First, …, Last. Those of a writer ascend, and there
// is at least one counter between two of them.
type CounterRun struct{ First, Last uint64 }

// Count returns how many segments are in the set.
func (s SegmentSet) Count() (n int64) {
	for _, runs := range s {
		for _, r := range runs {
			n += int64(r.Last-r.First) + 1
		}
	}
	return n
}

// Has says whether a segment is in the set.
func (s SegmentSet) Has(writer ID, counter uint64) bool {
	_, found := find(s[writer], counter)
	return found
}

// find returns which run holds the counter, or before which one it belongs.
func find(runs []CounterRun, counter uint64) (int, bool) {
	return slices.BinarySearchFunc(runs, counter, func(r CounterRun, c uint64) int {
		switch {
		case r.Last < c:
			return -1
		case r.First > c:
			return 1
		}
		return 0
	})
}

// Add adds a segment.
func (s SegmentSet) Add(writer ID, counter uint64) {
	runs := s[writer]
	i, found := find(runs, counter)
	if found {
		return
	}
	joinsLeft := i > 0 && runs[i-1].Last+1 == counter
	joinsRight := i < len(runs) && counter+1 == runs[i].First
	switch {
	case joinsLeft && joinsRight:
		runs[i-1].Last = runs[i].Last
		runs = slices.Delete(runs, i, i+1)
	case joinsLeft:
		runs[i-1].Last = counter
	case joinsRight:
		runs[i].First = counter
	default:
		runs = slices.Insert(runs, i, CounterRun{counter, counter})
	}
	s[writer] = runs
}

// Contains says whether the set has all segments of another one.
func (s SegmentSet) Contains(o SegmentSet) bool {
	for writer, runs := range o {
		for _, r := range runs {
			if i, found := find(s[writer], r.First); !found || s[writer][i].Last < r.Last {
				return false
			}
		}
	}
	return true
}

// Meets says whether the sets have a segment in common.
func (s SegmentSet) Meets(o SegmentSet) bool {
	for writer, runs := range o {
		for _, r := range runs {
			if i, found := find(s[writer], r.First); found || i < len(s[writer]) && s[writer][i].First <= r.Last {
				return true
			}
		}
	}
	return false
}

// AddAll adds the segments of a set that has none in common with this one.
func (s SegmentSet) AddAll(o SegmentSet) {
	for writer, added := range o {
		runs := slices.Concat(s[writer], added)
		slices.SortFunc(runs, func(a, b CounterRun) int { return cmp.Compare(a.First, b.First) })
		joined := runs[:0]
		for _, r := range runs {
			if last := len(joined) - 1; last >= 0 && joined[last].Last+1 == r.First {
				joined[last].Last = r.Last
			} else {
				joined = append(joined, r)
			}
		}
		s[writer] = joined
	}
}

// RemoveAll takes the segments of a set away, all of which this one has.
func (s SegmentSet) RemoveAll(o SegmentSet) {
	for writer, removed := range o {
		var rest []CounterRun
		for _, r := range s[writer] {
			for len(removed) > 0 && removed[0].Last <= r.Last {
				if removed[0].First > r.First {
					rest = append(rest, CounterRun{r.First, removed[0].First - 1})
				}
				r.First, removed = removed[0].Last+1, removed[1:]
				if r.First == 0 || r.First > r.Last { // behind the last counter there is
					r.First, r.Last = 1, 0
					break
				}
			}
			if r.First <= r.Last {
				rest = append(rest, r)
			}
		}
		if s[writer] = rest; len(rest) == 0 {
			delete(s, writer)
		}
	}
}

// Clone returns a copy.
func (s SegmentSet) Clone() SegmentSet {
	c := make(SegmentSet, len(s))
	for writer, runs := range s {
		c[writer] = slices.Clone(runs)
	}
	return c
}

// Writers yields the writers of the set, ascending.
func (s SegmentSet) Writers() iter.Seq[ID] {
	return slices.Values(sortedIDs(maps.Keys(s)))
}

func sortedIDs(ids iter.Seq[ID]) []ID {
	return slices.SortedFunc(ids, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
}

// Common returns the segments that both sets have.
func (s SegmentSet) Common(o SegmentSet) SegmentSet {
	c := make(SegmentSet)
	for writer, a := range s {
		b := o[writer]
		for len(a) > 0 && len(b) > 0 {
			if first, last := max(a[0].First, b[0].First), min(a[0].Last, b[0].Last); first <= last {
				c[writer] = append(c[writer], CounterRun{first, last})
			}
			if a[0].Last < b[0].Last {
				a = a[1:]
			} else {
				b = b[1:]
			}
		}
	}
	return c
}
