package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
)

// found is a comparison that found something of each kind.
func found() *source.Comparison {
	at, moved, value := int64(133), int64(101), "3600000"
	c := &source.Comparison{
		Partitions: []source.PartitionComparison{
			{Topic: "orders", Target: "copy", ReferenceRecords: 471, ClusterRecords: 470, ReferenceDigest: "aa", ClusterDigest: "bb", Mismatch: &source.Mismatch{What: "missing", Equal: 120, Reference: &at}},
			{Topic: "orders", Target: "copy", Partition: 1, ReferenceRecords: 1, ClusterRecords: 1, ReferenceDigest: "cc", ClusterDigest: "cc", Equal: true},
		},
		Groups: []source.GroupMismatch{{Group: "billing", Topic: "orders", Target: "copy", What: "moved", Reference: &at, Cluster: &moved, Ahead: -1}},
		Notes:  []string{"a note"},
	}
	c.Differences = []source.Difference{{Kind: "topic-configs", Object: "copy", Setting: "retention.ms", Backup: &value, Todo: "set it"}}
	return c
}

// Names are stable, and lists are lists when they are empty.
func TestComparisonAsJSON(t *testing.T) {
	snap := &source.Snapshot{Point: manifest.PointRef{Sequence: 2, Time: 1_700_000_000_000}}
	for _, tc := range []struct {
		name   string
		report compareReport
		want   string
	}{
		{"equal clusters", compareReport{Comparison: &source.Comparison{}, against: "one", cluster: "other"},
			`{"schemaVersion":1,"reference":{"kafkaCluster":"one"},"kafkaCluster":"other","equal":true,"partitions":[],"groups":[],"differences":[],"notCompared":[],"notes":[]}`},
		{"different from a point", compareReport{Comparison: found(), snapshot: snap, cluster: "other"},
			`{"schemaVersion":1,"reference":{"point":2,"pointTime":"2023-11-14T22:13:20Z"},"kafkaCluster":"other","equal":false,"partitions":[` +
				`{"topic":"orders","target":"copy","partition":0,"referenceRecords":471,"clusterRecords":470,"referenceDigest":"aa","clusterDigest":"bb","equal":false,` +
				`"mismatch":{"what":"missing","equalBefore":120,"referenceOffset":133,"clusterOffset":null}},` +
				`{"topic":"orders","target":"copy","partition":1,"referenceRecords":1,"clusterRecords":1,"referenceDigest":"cc","clusterDigest":"cc","equal":true,"mismatch":null}],` +
				`"groups":[{"group":"billing","topic":"orders","target":"copy","partition":0,"what":"moved","referenceOffset":133,"clusterOffset":101,"ahead":-1}],` +
				`"differences":[{"kind":"topic-configs","object":"copy","setting":"retention.ms","reference":"3600000","cluster":null,"todo":"set it"}],"notCompared":[],"notes":["a note"]}`},
	} {
		got, err := json.Marshal(tc.report.asJSON())
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.name, got, tc.want)
		}
	}
}

func TestComparisonAsText(t *testing.T) {
	for _, tc := range []struct {
		comparison *source.Comparison
		want       []string
	}{
		{&source.Comparison{}, []string{"Cluster one and cluster other", "no difference"}},
		{found(), []string{
			"orders copy 2 472 471 1 partition differs", "orders-0 120 133 the end a record is missing on the cluster",
			"billing orders-0 133 101 1 record behind on the cluster", "topic-configs copy retention.ms 3600000 - set it", "note: a note",
		}},
	} {
		var out bytes.Buffer
		if err := (&compareReport{Comparison: tc.comparison, against: "one", cluster: "other"}).print(&out, &cli.Globals{Output: "text"}); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		var lines []string
		for line := range strings.Lines(text) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		for _, want := range tc.want {
			if !strings.Contains(strings.Join(lines, "\n"), want) {
				t.Errorf("%q is not in\n%s", want, text)
			}
		}
		if strings.Contains(text, "no difference") != tc.comparison.Equal() {
			t.Errorf("equal %v:\n%s", tc.comparison.Equal(), text)
		}
	}
}
