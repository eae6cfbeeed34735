package source

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"

	"github.com/offsite-kafka/offsite/internal/batch"
)

// What a partition holds is compared by a digest over its records, in order,
// without their offsets: a restore by translation has others. A digest is also
// noted every so many records, so that where two partitions part, only the
// stretch in which they do has to be read again.
const (
	// leastInterval is how many records lie between two notes at least, and
	// within how many the first difference is looked for record by record.
	leastInterval = 256
	// marksInAll bounds the notes of all partitions of one side.
	marksInAll = 1 << 17
)

// mark is the digest of the first records of a partition, as many as its place
// in the list says.
type mark struct {
	sum  [16]byte // the beginning of it
	next int64    // offset behind the last of them
}

// digest sums up records. The zero value is not usable.
type digest struct {
	sum      hash.Hash
	records  int64
	interval int64 // between two marks, a multiple of leastInterval
	most     int   // marks, an even number; when there would be more, every second one is dropped
	marks    []mark
	wanted   []int64 // offsets, ascending and distinct, of which before tells
	before   []int64 // how many records lie before each, as far as that is known
	number   [8]byte
}

// marksFor spreads the marks over partitions.
func marksFor(partitions int) int { return max(16, min(1024, marksInAll/max(1, partitions)&^1)) }

func newDigest(interval int64, most int) *digest {
	return &digest{sum: sha256.New(), interval: interval, most: most}
}

// add takes the next record.
func (d *digest) add(r *batch.Record) error {
	for len(d.before) < len(d.wanted) && d.wanted[len(d.before)] <= r.Offset {
		d.before = append(d.before, d.records)
	}
	d.writeRecord(r)
	if d.records++; d.records%d.interval == 0 {
		d.note(r.Offset + 1)
	}
	return nil
}

// writeRecord adds all that a record is for a consumer: its timestamp in 8 bytes;
// key and value, each with its length in 8 bytes before it, which is -1 for null; and
// the number of headers and each one's key and value likewise.
func (d *digest) writeRecord(r *batch.Record) {
	d.writeNumber(r.Timestamp)
	d.writeBytes(r.Key())
	d.writeBytes(r.Value())
	d.writeNumber(int64(r.HeaderCount()))
	for key, value := range r.Headers() {
		d.writeBytes(key)
		d.writeBytes(value)
	}
}

func (d *digest) writeNumber(n int64) {
	binary.BigEndian.PutUint64(d.number[:], uint64(n))
	d.sum.Write(d.number[:])
}

func (d *digest) writeBytes(b []byte) {
	if b == nil {
		d.writeNumber(-1)
		return
	}
	d.writeNumber(int64(len(b)))
	d.sum.Write(b)
}

func (d *digest) note(next int64) {
	if len(d.marks) == d.most {
		for i := range d.most / 2 {
			d.marks[i] = d.marks[2*i+1]
		}
		d.marks = d.marks[:d.most/2]
		d.interval *= 2
		return // one more than an even number of the old intervals
	}
	m := mark{next: next}
	copy(m.sum[:], d.sum.Sum(nil))
	d.marks = append(d.marks, m)
}

// at returns the mark after n records, which is a multiple of the interval.
func (d *digest) at(n int64) (mark, bool) {
	i := n/d.interval - 1
	if i < 0 || i >= int64(len(d.marks)) {
		return mark{}, false
	}
	return d.marks[i], true
}

// equal says whether both saw the same records in the same order.
func (d *digest) equal(other *digest) bool {
	return d.records == other.records && string(d.sum.Sum(nil)) == string(other.sum.Sum(nil))
}

// recordsBefore says how many records lie before an offset that was wanted.
func (d *digest) recordsBefore(offset int64) int64 {
	if i, _ := slices.BinarySearch(d.wanted, offset); i < len(d.before) {
		return d.before[i]
	}
	return d.records // it is behind the last one
}

// alike returns after how many records, in steps of the larger interval, two
// digests are the same for the last time, and that interval.
func alike(a, b *digest) (records, interval int64) {
	interval = max(a.interval, b.interval)
	for n := interval; ; n += interval {
		x, inA := a.at(n)
		y, inB := b.at(n)
		if !inA || !inB || x.sum != y.sum {
			return n - interval, interval
		}
	}
}
