package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

// written writes a restore file, in whose folder ends.csv has offsets.
func written(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"restore.yaml": text, "ends.csv": "topic,partition,offset\norders,0,5\n", "other.csv": "topic,partition,offset\norders,0,6\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "restore.yaml")
}

// requested returns what a file and flags ask for.
func requested(t *testing.T, path string, args ...string) (source.Request, error) {
	t.Helper()
	file, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var to target
	cmd := &cobra.Command{}
	to.register(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	to.adopt(&file.Restore)
	return to.request()
}

const restoreFile = `
restore:
  at: nightly
  topics: ["a-{b,c}", "!d"]
  rename: {a-b: copy}
  atOffsets: ends.csv
  untilTimestamp: 2026-11-20T14:30:00Z
  acceptGap: true
  ifExists: append
  holdRetention: 24h
  replicationFactor: 3
  metadata: [topics]
  overrides:
    - topics: [ledger]
      at: 2026-11-20T14:00:00Z
      untilTimestamp: 1763649000000
      rename: {ledger: old}
      replicationFactor: 1
      configs: {retention.ms: -1, cleanup.policy: null}
`

// The file says what no flag says; overrides stay.
func TestFlagsWinOverTheRestoreFile(t *testing.T) {
	until, before, all := time.Date(2026, 11, 20, 14, 30, 0, 0, time.UTC).UnixMilli(), int64(1763649000000), "-1"
	overrides := []source.Override{{
		Topics: []string{"ledger"}, At: "2026-11-20T14:00:00Z", Until: &before, Rename: map[string]string{"ledger": "old"}, ReplicationFactor: 1,
		Configs: map[string]*string{"retention.ms": &all, "cleanup.policy": nil},
	}}
	vector := func(offset int64) source.Vector { return source.Vector{{Topic: "orders"}: offset} }
	path := written(t, restoreFile)
	got, err := requested(t, path)
	want := source.Request{
		At: "nightly", Topics: []string{"a-{b,c}", "!d"}, Rename: map[string]string{"a-b": "copy"}, Append: true, HoldRetention: 24 * time.Hour, ReplicationFactor: 3,
		Until: &until, Vector: vector(5), AcceptGap: true, Parts: []string{"topics"}, Overrides: overrides,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the file says %+v, %v\nwant %+v", got, err, want)
	}
	got, err = requested(t, path, "--at", "latest", "--topics", "e,f", "--rename", "e=g", "--at-offsets", filepath.Join(filepath.Dir(path), "other.csv"), "--until-timestamp", "2026-11-20T14:30:01Z",
		"--accept-gap=false", "--if-exists", "refuse", "--hold-retention", "0", "--replication-factor", "0", "--metadata", "topics,configs")
	later := until + 1000
	want = source.Request{
		At: "latest", Topics: []string{"e", "f"}, Rename: map[string]string{"e": "g"}, Until: &later, Vector: vector(6), Parts: []string{"topics", "configs"}, Overrides: overrides,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("with flags: %+v, %v\nwant %+v", got, err, want)
	}
	got, err = requested(t, written(t, "version: 1\n"))
	want = source.Request{At: "latest", Topics: []string{"*"}, Rename: map[string]string{}, Parts: []string{"topics", "configs"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("without the section: %+v, %v\nwant %+v", got, err, want)
	}
}

// What is wrong with the file is told by its keys, what is wrong with a flag by the flag.
func TestWrongRestoreFile(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		args []string
		want []string
	}{
		"a time":                 {"restore: {untilTimestamp: tomorrow}\n", nil, []string{`restore.untilTimestamp "tomorrow"`, "RFC 3339"}},
		"a time of a flag":       {"restore: {untilTimestamp: tomorrow}\n", []string{"--until-timestamp", "never"}, []string{`--until-timestamp "never"`}},
		"a time of an override":  {"restore: {overrides: [{topics: a}, {topics: b, untilTimestamp: tomorrow}]}\n", nil, []string{`restore.overrides[1].untilTimestamp "tomorrow"`, "RFC 3339"}},
		"a file that is not":     {"restore: {atOffsets: none.csv}\n", nil, []string{"restore.atOffsets: ", "none.csv", "no such file"}},
		"a file of another kind": {"restore: {atOffsets: restore.yaml}\n", nil, []string{"restore.atOffsets ", "restore.yaml", "not a vector"}},
		"parts":                  {"restore: {metadata: [topics, users]}\n", nil, []string{"restore.metadata users: want some of topics"}},
		"parts that go together": {"restore: {metadata: configs}\n", nil, []string{"restore.metadata configs goes with topics"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := requested(t, written(t, tc.text), tc.args...)
			for _, word := range tc.want {
				if err == nil || strings.Count(err.Error(), word) != 1 {
					t.Errorf("%q is not once in %v", word, err)
				}
			}
		})
	}
}

// The plan, the result and the offsets name the points of topics that have their own.
func TestOwnPointsAreShown(t *testing.T) {
	until := int64(5)
	snap, then := &source.Snapshot{}, &source.Snapshot{}
	snap.Point.Sequence, then.Point.Sequence, then.Point.Time = 40, 12, 1000
	topic := func(name string, from *source.Snapshot) *source.TopicPlan {
		return &source.TopicPlan{Source: source.Incarnation{Nth: 1}, Target: name, From: from}
	}
	plan := &source.Plan{Snapshot: snap, Topics: []*source.TopicPlan{topic("a", snap), topic("b", then)}}
	plan.Topics[0].Source.Name, plan.Topics[1].Source.Name, plan.Topics[1].Until, plan.Topics[1].Unset = "a", "b", &until, []string{"retention.ms"}
	result := &source.Result{Topics: []source.TopicResult{{Source: "a", Target: "a"}, {Source: "b", Target: "b", Later: 3}}}
	for _, tc := range []struct {
		output string
		want   []string
		count  int // of "12"
	}{
		{"text", []string{"b@1 (point 12)", "retention.ms (unset)", "b (point 12)", "b: left out 3 records after 1970-01-01T00:00:00.005Z"}, 2},
		{"json", []string{`"point": 12,`, `"pointTime": "1970-01-01T00:00:01Z"`, `"untilTimestamp": "1970-01-01T00:00:00.005Z"`}, 2},
	} {
		var out strings.Builder
		g := &cli.Globals{Output: tc.output}
		if err := printPlan(&out, g, plan); err != nil {
			t.Fatal(err)
		}
		if err := printResult(&out, g, plan, result); err != nil {
			t.Fatal(err)
		}
		for _, word := range tc.want {
			if !strings.Contains(out.String(), word) {
				t.Errorf("%s: %q is not in\n%s", tc.output, word, out.String())
			}
		}
		if n := strings.Count(out.String(), "12"); n != tc.count {
			t.Errorf("%s: 12 is there %d times in\n%s", tc.output, n, out.String())
		}
	}
	list := []source.Translation{{Topic: "a", Target: "a", Offset: 1}, {Topic: "b", Target: "b", Offset: 2, Point: 12}}
	for format, want := range map[string]string{
		"csv":  "group,type,topic,partition,source_offset,target_topic,target_offset,note,point\n,,a,0,0,a,1,,\n,,b,0,0,b,2,,12\n",
		"json": `"point": 12`,
	} {
		var out strings.Builder
		cmd := &cobra.Command{}
		cmd.SetOut(&out)
		if err := printOffsets(cmd, format, list); err != nil || !strings.Contains(out.String(), want) || strings.Count(out.String(), "12") != 1 {
			t.Errorf("%s, %v", out.String(), err)
		}
		if v, err := source.ParseVector([]byte(out.String())); err != nil || len(v) != 2 {
			t.Errorf("what is printed is no vector: %v, %v", v, err)
		}
	}
}
