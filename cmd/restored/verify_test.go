package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/source"
)

// Keys are written like those of every other command, and lists are lists when they are empty.
func TestReportAsJSON(t *testing.T) {
	for _, tc := range []struct {
		name   string
		report source.Report
		want   string
	}{
		{"whole", source.Report{Entries: 2, Points: 1, Segments: 3, Bytes: 4, Blocks: 5, Batches: 6, Records: 7},
			`{"schemaVersion":1,"ok":true,"entries":2,"points":1,"segments":3,"storedBytes":4,"blocks":5,"batches":6,"records":7,"gaps":[],"damages":[],"orphans":[]}`},
		{"with a gap", source.Report{Gaps: []source.GapNote{{Topic: "t", Partition: 1, From: 2, To: 3, Reason: "why"}}},
			`{"schemaVersion":1,"ok":true,"entries":0,"points":0,"segments":0,"storedBytes":0,"blocks":0,"batches":0,"records":0,"gaps":[{"topic":"t","partition":1,"from":2,"to":3,"reason":"why"}],"damages":[],"orphans":[]}`},
		{"with an orphan", source.Report{Orphans: []source.Orphan{{Key: "data/w/2", Bytes: 9, Newer: true}}},
			`{"schemaVersion":1,"ok":true,"entries":0,"points":0,"segments":0,"storedBytes":0,"blocks":0,"batches":0,"records":0,"gaps":[],"damages":[],"orphans":[{"object":"data/w/2","bytes":9,"newerThanLog":true}]}`},
		{"damaged", source.Report{Damages: []source.DamageNote{{Key: "data/w/1", Reason: "why", Lost: []string{"t-0 [1,2)"}}, {Key: "log/0/1"}}},
			`{"schemaVersion":1,"ok":false,"entries":0,"points":0,"segments":0,"storedBytes":0,"blocks":0,"batches":0,"records":0,"gaps":[],"damages":[{"object":"data/w/1","reason":"why","lost":["t-0 [1,2)"]},{"object":"log/0/1","reason":"","lost":[]}],"orphans":[]}`},
	} {
		got, err := json.Marshal(reportAsJSON(&tc.report))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.name, got, tc.want)
		}
	}
}

func TestPrintOrphans(t *testing.T) {
	old, young := source.Orphan{Key: "data/w/1", Bytes: 1000}, source.Orphan{Key: "data/w/2", Bytes: 24, Newer: true}
	for _, tc := range []struct {
		orphans []source.Orphan
		want    []string // each once, "!" for what must not be said
	}{
		{nil, []string{"!orphan"}},
		{[]source.Orphan{old}, []string{"orphans: 1 segments (1000 B)", "!removed from the end"}},
		{[]source.Orphan{old, young}, []string{"orphans: 2 segments (1.0 KiB)", "1 of them newer", "removed from the end"}},
	} {
		var out strings.Builder
		printOrphans(&out, tc.orphans)
		for _, want := range tc.want {
			bare, not := strings.CutPrefix(want, "!")
			if strings.Contains(out.String(), bare) == not {
				t.Errorf("%v: got %q, want %q", tc.orphans, out.String(), want)
			}
		}
	}
}
