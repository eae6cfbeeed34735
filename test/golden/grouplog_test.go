package golden_test

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/test/golden"
)

// groupsOf returns what groups had committed at times, in ms since 1970, where a golden repository knows it.
func groupsOf(t testing.TB, folder string) map[int64][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "groups-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := make(map[int64][]byte)
	for _, f := range files {
		at, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "groups-"), ".jsonl"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if lines[at], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return lines
}

// What groups had committed between two points is what they had committed.
func TestGoldenGroupsAt(t *testing.T) {
	times := 0
	for _, folder := range repositories(t) {
		for at, want := range groupsOf(t, folder) {
			times++
			t.Run(filepath.Base(folder)+" at "+source.Clock(at), func(t *testing.T) {
				groups, err := source.LoadGroups(t.Context(), open(t, folder), strconv.FormatInt(at, 10), time.Now())
				if err != nil {
					t.Fatal(err)
				}
				if !groups.Exact || groups.Time != at {
					t.Errorf("known as of %s, exactly: %v", source.Clock(groups.Time), groups.Exact)
				}
				content := golden.Content{Offsets: committed(groups.Groups)}
				got, err := content.Encode()
				if err != nil {
					t.Fatal(err)
				}
				requireSame(t, got, want)
			})
		}
	}
	if times < 3 {
		t.Errorf("only %d times", times)
	}
}

// Where the log of groups is captured, restored show says what groups had at each point, how it ends transactions, and nothing of the log.
func TestGoldenGroupLog(t *testing.T) {
	const folder = "v1/grouplog"
	want := map[uint64]source.TxnsContent{
		1: {},
		2: {Decided: 1, Undone: 2, Marks: 1, Open: make([]source.OpenTxn, 2)}, // undone and open in the data and in the log
		3: {},
	}
	repo := open(t, folder)
	for _, e := range expectations(t, folder) {
		snapshot, err := source.Load(t.Context(), repo, cmp.Or(e.point, "latest"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		c := snapshot.Content()
		for _, topic := range c.Topics {
			if topic.Topic == kafka.GroupLogTopic {
				t.Errorf("point %d shows the log of groups", c.Point)
			}
		}
		w := want[c.Point]
		if x := c.Transactions; x.Decided != w.Decided || x.Undone != w.Undone || len(x.Open) != len(w.Open) || x.Marks != w.Marks || x.Unproven != 0 {
			t.Errorf("point %d: transactions %+v", c.Point, x)
		}
		expected, err := golden.Decode(e.lines)
		if err != nil {
			t.Fatal(err)
		}
		if got := shown(c.Groups); !reflect.DeepEqual(got, told(expected.Offsets)) {
			text, _ := json.Marshal(got)
			t.Errorf("point %d shows groups %s", c.Point, text)
		}
		at, err := source.LoadGroups(t.Context(), repo, strconv.FormatUint(c.Point, 10), time.Now())
		if err != nil || !at.Exact || !reflect.DeepEqual(at.Groups, snapshot.State.Groups) {
			t.Errorf("point %d: restored groups differs: %+v, %v", c.Point, at, err)
		}
	}
}

// shownOffset is what restored show says of an offset.
type shownOffset struct {
	group, kind string
	source.OffsetContent
}

func shown(groups []source.GroupContent) (list []shownOffset) {
	for _, g := range groups {
		for _, o := range g.Offsets {
			list = append(list, shownOffset{g.Group, g.Type, o})
		}
	}
	return list
}

func told(offsets []golden.Offset) (list []shownOffset) {
	for _, o := range offsets {
		list = append(list, shownOffset{o.Group, o.Type, source.OffsetContent{Topic: o.Topic, Partition: o.Partition, Offset: o.Offset, Metadata: o.Metadata}})
	}
	return list
}
