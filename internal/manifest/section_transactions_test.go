package manifest_test

import (
	"math"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// txnOf is one element of section 9.
func txnOf(stream uint64, kind byte, producer, epoch int64, offset uint64) []byte {
	return join(uv(stream), []byte{kind}, sv(producer), sv(epoch), uv(offset))
}

func TestTransactionBounds(t *testing.T) {
	for _, tc := range []struct {
		name string
		body []byte
		ok   bool
	}{
		{"none", section(9, uv(0)), false},
		{"largest", section(9, uv(1), txnOf(1<<24, 2, math.MaxInt64, math.MaxInt16, math.MaxInt64-1)), true},
		{"stream", section(9, uv(1), txnOf(1<<24+1, 0, 1, 1, 1)), false},
		{"kind", section(9, uv(1), txnOf(0, 3, 1, 1, 1)), false},
		{"epoch", section(9, uv(1), txnOf(0, 0, 1, math.MaxInt16+1, 1)), false},
		{"offset", section(9, uv(1), txnOf(0, 0, 1, 1, math.MaxInt64)), false},
		{"open and undone", section(9, uv(2), txnOf(0, 0, 1, 1, 1), txnOf(0, 2, 1, 1, 1)), true},
		{"undone and open", section(9, uv(2), txnOf(0, 2, 1, 1, 1), txnOf(0, 0, 1, 1, 1)), false},
		{"open and decided", section(9, uv(2), txnOf(0, 0, 1, 1, 1), txnOf(0, 1, 1, 1, 1)), false},
		{"undone twice", section(9, uv(2), txnOf(0, 2, 1, 1, 1), txnOf(0, 2, 1, 1, 2)), false},
		{"producers out of order", section(9, uv(2), txnOf(0, 0, 2, 1, 1), txnOf(0, 0, 1, 1, 1)), false},
		{"another stream", section(9, uv(2), txnOf(0, 0, 2, 1, 1), txnOf(1, 0, 1, 1, 1)), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := manifest.DecodeEntry(plain(tc.body)); (err == nil) != tc.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTransactionsOfAState(t *testing.T) {
	open := manifest.Transaction{Stream: 0, ProducerID: 4, Offset: 14}
	decided := open
	decided.Kind = manifest.TxnDecided
	beyond := open
	beyond.Offset = 15
	nowhere := open
	nowhere.Stream = 3
	for _, tc := range []struct {
		name string
		list []manifest.Transaction
		at   *manifest.Point
		want string
	}{
		{"open", []manifest.Transaction{open}, nil, ""},
		{"decided", []manifest.Transaction{decided}, &manifest.Point{}, ""},
		{"decided without a point", []manifest.Transaction{decided}, nil, "without a point"},
		{"beyond the position", []manifest.Transaction{beyond}, nil, "not come so far"},
		{"of no stream", []manifest.Transaction{nowhere}, nil, "not come so far"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := history(t)
			e := manifest.Entry{Sequence: s.Sequence + 1, Previous: s.Head, Transactions: tc.list, Point: tc.at}
			if err := s.Check(&e); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	s := history(t)
	follow(t, s, manifest.Entry{Point: &manifest.Point{}, Transactions: []manifest.Transaction{open}})
	follow(t, s, manifest.Entry{PointChanges: []manifest.PointChange{{Point: s.Sequence, Pinned: true}}})
	if len(s.Transactions) != 1 {
		t.Error("an entry that captured nothing has made the open transactions forgotten")
	}
	follow(t, s, manifest.Entry{Ranges: []manifest.Range{advance(0, 1)}})
	if len(s.Transactions) != 0 {
		t.Error("an entry with ranges has left the open transactions as they were")
	}
}
