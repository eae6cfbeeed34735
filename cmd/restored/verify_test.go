package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
)

// Keys are written like those of every other command, and lists are lists when they are empty.
func TestReportAsJSON(t *testing.T) {
	head := func(ok string) string {
		return `{"schemaVersion":1,"ok":` + ok + `,"level":"decode","samplePercent":100,"seed":0,"firstEntry":1,"entries":2,"points":1,"segments":3,"storedBytes":4,"readBytes":0,"blocks":5,"batches":6,"records":7,`
	}
	for _, tc := range []struct {
		name   string
		report source.Report
		want   string
	}{
		{"whole", source.Report{Restorable: []source.PointRun{{First: manifest.PointRef{Sequence: 2}, Last: manifest.PointRef{Sequence: 9}, Count: 3}}},
			head("true") +
				`"gaps":[],"damages":[],"knownLosses":[],"orphans":[],"restorable":[{"firstPoint":2,"lastPoint":9,"points":3,"complete":true,"incompleteTopics":[]}]}`},
		{"with a gap", source.Report{Gaps: []source.GapNote{{Topic: "t", Partition: 1, From: 2, To: 3, Reason: "why"}}},
			head("true") +
				`"gaps":[{"topic":"t","partition":1,"from":2,"to":3,"reason":"why"}],"damages":[],"knownLosses":[],"orphans":[],"restorable":[]}`},
		{"with an orphan", source.Report{Orphans: []source.Orphan{{Key: "data/w/2", Bytes: 9, Newer: true}}},
			head("true") +
				`"gaps":[],"damages":[],"knownLosses":[],"orphans":[{"object":"data/w/2","bytes":9,"newerThanLog":true}],"restorable":[]}`},
		{"damaged", source.Report{
			Damages:    []source.DamageNote{{Key: "data/w/1", Position: 8, Reason: "why", Lost: []source.LostRange{{Topic: "t", From: 1, To: 2}}}, {Key: "log/0/1", Entries: 1}},
			Restorable: []source.PointRun{{First: manifest.PointRef{Sequence: 2}, Last: manifest.PointRef{Sequence: 2}, Count: 1, Topics: []string{"t"}}},
		},
			head("false") +
				`"gaps":[],"damages":[{"object":"data/w/1","position":8,"reason":"why","lost":[{"topic":"t","topicId":"AAAAAAAAAAAAAAAAAAAAAA","partition":0,"from":1,"to":2}]},` +
				`{"object":"log/0/1","position":0,"reason":"","lost":[],"unreadableFromEntry":1}],"knownLosses":[],"orphans":[],` +
				`"restorable":[{"firstPoint":2,"lastPoint":2,"points":1,"complete":false,"incompleteTopics":["t"]}]}`},
	} {
		r := &tc.report
		r.Level, r.Share, r.First, r.Entries, r.Points, r.Segments, r.Bytes, r.Blocks, r.Batches, r.Records = manifest.LevelDecode, manifest.WholeShare, 1, 2, 1, 3, 4, 5, 6, 7
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
		{[]source.Orphan{old}, []string{"orphans: 1 segment (1000 B)", "!removed from the end"}},
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
