package oracle

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
)

// Class is a way in which a copy can be wrong.
type Class string

// The classes.
const (
	Lost        Class = "lost"         // the source has it, the copy has not
	Duplicate   Class = "duplicate"    // the copy has it more often than the source
	Reordered   Class = "reordered"    // the copy has it at another place
	Altered     Class = "altered"      // the copy has something else in its place
	AbortedRead Class = "aborted read" // it belongs to an aborted transaction
	Foreign     Class = "foreign"      // the source never had it
)

// Fault is one record that is not as it must be.
type Fault struct {
	Class     Class
	Partition int32
	Source    int64 // offset at the source, -1 if it has none
	Copy      int64 // offset in the copy, -1 if it is not there
}

func (f Fault) String() string {
	return fmt.Sprintf("%s: partition %d, source offset %d, copy offset %d", f.Class, f.Partition, f.Source, f.Copy)
}

// Faults are what is wrong with a copy. None means that it is exact.
type Faults []Fault

// Count returns the number of faults of each class.
func (f Faults) Count() map[Class]int {
	n := make(map[Class]int)
	for _, x := range f {
		n[x.Class]++
	}
	return n
}

// String sums up and shows the first few.
func (f Faults) String() string {
	const shown = 10
	count := f.Count()
	var b strings.Builder
	for _, c := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(&b, "%d %s, ", count[c], c)
	}
	b.WriteString("such as")
	for _, x := range f[:min(shown, len(f))] {
		fmt.Fprintf(&b, "\n\t%s", x)
	}
	return b.String()
}

// Compare says how a copy differs from its source, partition by partition.
func Compare(source, copied History) Faults {
	partitions := make(map[int32]bool)
	for _, h := range []History{source, copied} {
		for p := range h {
			partitions[p] = true
		}
	}
	var faults Faults
	for _, p := range slices.Sorted(maps.Keys(partitions)) {
		faults = append(faults, compareLogs(p, source[p], copied[p])...)
	}
	return faults
}

// CompareLogs says how the copy of one partition differs from its source.
func CompareLogs(source, copied Log) Faults { return compareLogs(0, source, copied) }

func compareLogs(partition int32, source, copied Log) Faults {
	if slices.EqualFunc(source.Records, copied.Records, sameIdentity) {
		return nil
	}
	c := &comparison{partition: partition, source: source.Records, copied: copied.Records}
	c.match()
	c.classifyUnmatched(source.Aborted)
	c.findReordered()
	sort.SliceStable(c.faults, func(i, j int) bool { return c.faults[i].Copy < c.faults[j].Copy })
	return c.faults
}

func sameIdentity(a, b Record) bool { return a.Identity == b.Identity }

// none is the partner of a record without one.
const none = -1

// comparison is one comparison of two lists of records.
type comparison struct {
	partition      int32
	source, copied []Record
	partner        []int  // of each copied record: index in source, or none
	found          []bool // by source record
	faults         Faults
}

// match gives each copied record the first equal source record that has no partner yet.
func (c *comparison) match() {
	places := make(map[Identity][]int)
	for i, r := range c.source {
		places[r.Identity] = append(places[r.Identity], i)
	}
	c.partner, c.found = make([]int, len(c.copied)), make([]bool, len(c.source))
	for i, r := range c.copied {
		list, known := places[r.Identity]
		switch {
		case len(list) > 0:
			c.partner[i], c.found[list[0]] = list[0], true
			places[r.Identity] = list[1:]
		default:
			c.partner[i] = none
			if known {
				c.fault(Duplicate, none, i)
			}
		}
	}
	// A duplicate is no candidate for "altered" or "foreign".
	for i, r := range c.copied {
		if _, known := places[r.Identity]; c.partner[i] == none && known {
			c.partner[i] = duplicate
		}
	}
}

// duplicate marks a copied record whose partners are all taken.
const duplicate = -2

// classifyUnmatched names the copied records that the source does not have and the source records that the copy does not have. An
// unknown record that stands where one is missing is that one, altered.
func (c *comparison) classifyUnmatched(aborted []Record) {
	gone := make(map[Identity]bool)
	for _, r := range aborted {
		gone[r.Identity] = true
	}
	expected := 0 // index in source that comes next
	for i, r := range c.copied {
		switch p := c.partner[i]; {
		case p >= 0:
			expected = p + 1
		case p == duplicate:
		case gone[r.Identity]:
			c.fault(AbortedRead, none, i)
		case expected < len(c.source) && !c.found[expected]:
			c.found[expected] = true
			c.fault(Altered, expected, i)
			expected++
		default:
			c.fault(Foreign, none, i)
		}
	}
	for i, found := range c.found {
		if !found {
			c.fault(Lost, i, none)
		}
	}
}

// findReordered names the fewest records that have to be moved to restore the order: those outside the longest
// ascending subsequence of partners.
func (c *comparison) findReordered() {
	var tails []int // by length - 1: index of the copied record that ends the best subsequence
	before := make([]int, len(c.copied))
	for i, p := range c.partner {
		if p < 0 {
			continue
		}
		n := sort.Search(len(tails), func(k int) bool { return c.partner[tails[k]] >= p })
		before[i] = none
		if n > 0 {
			before[i] = tails[n-1]
		}
		if n == len(tails) {
			tails = append(tails, i)
		} else {
			tails[n] = i
		}
	}
	ordered := make(map[int]bool)
	if len(tails) > 0 {
		for i := tails[len(tails)-1]; i != none; i = before[i] {
			ordered[i] = true
		}
	}
	for i, p := range c.partner {
		if p >= 0 && !ordered[i] {
			c.fault(Reordered, p, i)
		}
	}
}

func (c *comparison) fault(class Class, source, copied int) {
	f := Fault{Class: class, Partition: c.partition, Source: -1, Copy: -1}
	if source >= 0 {
		f.Source = c.source[source].Offset
	}
	if copied >= 0 {
		f.Copy = c.copied[copied].Offset
	}
	c.faults = append(c.faults, f)
}
