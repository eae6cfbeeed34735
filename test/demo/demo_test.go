package main

import (
	"errors"
	"io"
	"maps"
	"os/exec"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestDemo(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", bin+"/", "../../cmd/...").CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	if err := demo(t.Context(), bin, t.Output()); err != nil {
		t.Fatal(err)
	}
}

// The demo would be worthless if its table could not say NO.
func TestReportSeesDifferences(t *testing.T) {
	group := map[int32]position{0: {10, "a"}, 1: {20, "b"}, 2: {30, "c"}}
	before := &view{records: 3, checksum: "x", group: group}
	changed := func(change func(map[int32]position)) map[int32]position {
		m := maps.Clone(group)
		change(m)
		return m
	}
	for name, after := range map[string]*view{
		"fewer records":        {records: 2, checksum: "x", group: group},
		"other content":        {records: 3, checksum: "y", group: group},
		"another next record":  {records: 3, checksum: "x", group: changed(func(m map[int32]position) { m[1] = position{20, "c"} })},
		"no offset":            {records: 3, checksum: "x", group: changed(func(m map[int32]position) { delete(m, 2) })},
		"one offset too many":  {records: 3, checksum: "x", group: changed(func(m map[int32]position) { m[3] = position{1, "d"} })},
		"nothing left to read": {records: 3, checksum: "x", group: changed(func(m map[int32]position) { m[0] = position{10, ""} })},
	} {
		if err := report(io.Discard, before, after); !errors.Is(err, errDiffers) {
			t.Errorf("%s: report says %v, want %v", name, err, errDiffers)
		}
	}
	shifted := &view{records: 3, checksum: "x", group: changed(func(m map[int32]position) { m[0] = position{7, "a"} })}
	if err := report(io.Discard, before, shifted); err != nil {
		t.Errorf("other offsets, same records: report says %v", err)
	}
	if err := report(io.Discard, &view{}, &view{}); !errors.Is(err, errDiffers) {
		t.Errorf("nothing at all: report says %v, want %v", err, errDiffers)
	}
}

func TestDigestSeesDifferences(t *testing.T) {
	record := func(change func(*kgo.Record)) map[int32][]*kgo.Record {
		r := &kgo.Record{Key: []byte("k"), Value: []byte{}, Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "b"}}}
		change(r)
		return map[int32][]*kgo.Record{1: {r}}
	}
	_, want := digest(record(func(*kgo.Record) {}))
	for name, change := range map[string]func(*kgo.Record){
		"key":                 func(r *kgo.Record) { r.Key = []byte("l") },
		"null value":          func(r *kgo.Record) { r.Value = nil },
		"timestamp":           func(r *kgo.Record) { r.Timestamp = r.Timestamp.AddDate(0, 0, 1) },
		"order of headers":    func(r *kgo.Record) { r.Headers[0], r.Headers[1] = r.Headers[1], r.Headers[0] },
		"empty header value":  func(r *kgo.Record) { r.Headers[1].Value = []byte{} },
		"one header too many": func(r *kgo.Record) { r.Headers = append(r.Headers, kgo.RecordHeader{Key: "b"}) },
	} {
		if _, got := digest(record(change)); got == want {
			t.Errorf("%s: the checksum does not change", name)
		}
	}
	_, got := digest(record(func(r *kgo.Record) { r.Offset = 99 }))
	if got != want {
		t.Error("another offset: the checksum changes")
	}
}
