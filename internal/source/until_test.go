package source

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// TestUntilAgainstModel: exactly the records up to a time come back, whatever
// order their timestamps are in; offsets are translated accordingly, and a second
// run makes the same batches.
func TestUntilAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := stories().Draw(t, "story")
		for _, specs := range s.blocks {
			for i := range specs {
				if n := int(specs[i].last) + 1; rapid.Bool().Draw(t, "stamps") {
					specs[i].stamps = rapid.SliceOfN(rapid.Int64Range(-200, 500), n, n).Draw(t, "of the records")
				}
			}
		}
		until := firstTime.UnixMilli() + rapid.Int64Range(-250, 550).Draw(t, "until")
		c, err := convertUntil(&until, s.lo, s.hi, s.wanted, 300, s.blocks, s.starts)
		if err != nil {
			t.Fatal(err)
		}
		model, later := s.upTo(until)
		var want []string
		for _, k := range model {
			want = append(want, k.id)
		}
		if got := c.records(t); !slices.Equal(got, want) {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, w := range s.wanted {
			n := slices.IndexFunc(model, func(k kept) bool { return k.offset >= w })
			if n < 0 {
				n = len(model)
			}
			if got := c.translate(w); got != int64(n) {
				t.Fatalf("offset %d is translated to %d, want %d", w, got, n)
			}
		}
		if c.kept != int64(len(model)) || c.at != max(s.hi, s.lo) || (c.converter.counts.Later == 0) != (later == 0) {
			t.Fatalf("counts %+v, kept %d, at %d, want %d records to %d without %d", c.converter.counts, c.kept, c.at, len(model), s.hi, later)
		}
		again, err := convertUntil(&until, s.lo, s.hi, s.wanted, 300, s.blocks, s.starts)
		if err != nil || !slices.EqualFunc(c.batches, again.batches, bytes.Equal) {
			t.Fatal("a second run makes other batches: a killed restore could not go on", err)
		}
	})
}

// upTo is naive without what is later than a time, and how much that is.
func (s *story) upTo(until int64) (list []kept, later int) {
	all := s.naive()
	for _, b := range slices.Concat(s.blocks...) {
		for _, k := range all {
			if k.offset < b.base || k.offset >= b.next() {
				continue
			}
			if b.timestamp(k.offset) <= until {
				list = append(list, k)
			} else {
				later++
			}
		}
	}
	return list, later
}

// The timestamp of a batch's first record says nothing about the others: a batch
// that begins late may hold early ones. One that ends early goes as it is.
func TestUntilLooksIntoBatches(t *testing.T) {
	until := firstTime.UnixMilli() + 100
	large := func(base int64, stamps ...int64) spec {
		return spec{base: base, last: int32(len(stamps) - 1), size: rawFrom, stamps: stamps}
	}
	for _, tc := range []struct {
		name string
		spec spec
		want []int64 // offsets
		raw  bool
	}{
		{"all before", large(0, 1, 2, 3), []int64{0, 1, 2}, true},
		{"the last moment", large(0, 100, 99, 100), []int64{0, 1, 2}, true},
		{"all after", large(0, 101, 102), nil, false},
		{"begins after", large(0, 500, 3, 700, 100), []int64{1, 3}, false},
		{"ends after", large(0, 1, 101), []int64{0}, false},
		{"before 1970", large(0, -firstTime.UnixMilli()-5, 101), []int64{0}, false},
		{"packed", spec{last: 2, stamps: []int64{200, 1, 200}, codec: batch.Zstd}, []int64{1}, false},
		{"log append time after", spec{last: 200, logAppend: true}, nil, false},
		{"log append time before", spec{last: 20, logAppend: true}, make([]int64, 21), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := convertUntil(&until, 0, tc.spec.next(), nil, buildTo, [][]spec{{tc.spec}}, []int64{0})
			if err != nil {
				t.Fatal(err)
			}
			if tc.spec.logAppend {
				for i := range tc.want {
					tc.want[i] = int64(i)
				}
			}
			var want []string
			for _, o := range tc.want {
				want = append(want, tc.spec.identity(o))
			}
			if got := c.records(t); !slices.Equal(got, want) {
				t.Errorf("got %d records, want %d", len(got), len(want))
			}
			if raw := len(c.batches) == 1 && c.converter.counts.Rebuilt == 0; raw != tc.raw {
				t.Errorf("as it is: %v, want %v", raw, tc.raw)
			}
			if later := c.converter.counts.Later; later != tc.spec.next()-int64(len(tc.want)) {
				t.Errorf("%d are later", later)
			}
		})
	}
}

// A restore up to a time that dies at one of its requests goes on like any other, exactly once.
func TestRestoreUpToATimeDies(t *testing.T) {
	st, all := manyRequests(t)
	until := firstTime.Add(13 * time.Second).UnixMilli()
	truth, left := make(map[string][]string), 0
	for place, list := range all {
		truth[place] = slices.DeleteFunc(slices.Clone(list), func(id string) bool {
			var at int64
			if _, err := fmt.Sscan(id, &at); err != nil {
				t.Fatal(err)
			}
			return at > until
		})
		left += len(list) - len(truth[place])
	}
	if left < 12 || len(truth["orders-0"]) == 0 {
		t.Fatalf("%d records are left out of %v", left, truth)
	}
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	run := func(ctx context.Context, c *kafka.Cluster) error {
		plan, err := Prepare(ctx, repo, c, Request{Until: &until}, now)
		if err == nil {
			_, err = (&Runner{Cluster: c, Log: quiet}).Run(ctx, plan)
		}
		return err
	}
	died := 0
	for at := 3; at < 60; at += 4 {
		target := fake(t)
		g := over(target)
		ctx, cancel := context.WithCancel(t.Context())
		g.set(at, cancel)
		if c, err := kafka.Connect(ctx, kafka.Config{BootstrapServers: target.ListenAddrs()}, quiet); err == nil {
			err = run(ctx, c)
			c.Close()
			if err != nil {
				died++
			}
		}
		g.set(0, nil)
		cancel()
		if err := run(t.Context(), connect(t, target)); err != nil {
			t.Fatalf("after a death at request %d: %v", at, err)
		}
		if err := compareRecords(consumed(t, target, ""), truth, false); err != nil {
			t.Fatalf("after a death at request %d: %v", at, err)
		}
		target.Close()
	}
	if died < 5 {
		t.Errorf("%d deaths", died)
	}
}
