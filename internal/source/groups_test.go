package source

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

// A group that has read 1 of 2 records of the target would lose the other one if
// it was moved to where the records of the backup begin.
func TestAppendKeepsProgressOfGroups(t *testing.T) {
	repo := firstDayRepository(t)
	f := fake(t)
	if err := f.CreateTopic("orders", 2, nil); err != nil {
		t.Fatal(err)
	}
	write(t, f, 2)
	var own kadm.Offsets
	own.Add(kadm.Offset{Topic: "orders", Partition: 0, At: 1, LeaderEpoch: -1})
	if err := kadm.NewClient(client(t, f)).CommitAllOffsets(t.Context(), "readers", own); err != nil {
		t.Fatal(err)
	}
	c := connect(t, f)
	foretold := func() bool { return prepareOrders(t, repo, c, true).Groups[0].Problem != "" }
	if !foretold() {
		t.Error("the plan does not say that an offset will stay")
	}
	res, err := (&Runner{Cluster: c, Log: quiet}).Run(t.Context(), prepareOrders(t, repo, c, true))
	if err != nil {
		t.Fatal(err)
	}
	now, err := c.GroupOffsets(t.Context(), []string{"readers"})
	if err != nil {
		t.Fatal(err)
	}
	if len(now["readers"]) != 1 || now["readers"][0].Offset != 1 || res.Complete() {
		t.Errorf("offsets %+v, complete %t, want offset 1 as it was, and not complete", now["readers"], res.Complete())
	}
	again, err := (&Runner{Cluster: c, Log: quiet}).Run(t.Context(), prepareOrders(t, repo, c, true))
	if err != nil || again.Topics[0].Action != ActionNone || len(again.Groups) != 1 || !slices.Equal(again.Groups[0].Problems, res.Groups[0].Problems) {
		t.Errorf("the second run: %+v, %v, want the same problems as %+v", again, err, res.Groups)
	}
	if !foretold() {
		t.Error("the plan of the second run says of no problem")
	}
	for _, at := range []int64{2 + 3, 2 + 4} { // set by hand, and gone on
		var solved kadm.Offsets
		solved.Add(kadm.Offset{Topic: "orders", Partition: 0, At: at, LeaderEpoch: -1})
		if err := kadm.NewClient(client(t, f)).CommitAllOffsets(t.Context(), "readers", solved); err != nil {
			t.Fatal(err)
		}
		if last, err := (&Runner{Cluster: c, Log: quiet}).Run(t.Context(), prepareOrders(t, repo, c, true)); err != nil || !last.Complete() || foretold() {
			t.Errorf("at %d: %+v, %v, want it to be complete", at, last, err)
		}
	}
}

// Between the commit of the groups and the end of the restore it was killed, and
// a consumer has gone on meanwhile.
func TestSecondRunKeepsProgressOfGroups(t *testing.T) {
	p := &Plan{Topics: []*TopicPlan{{Target: "t", Partitions: 1, Action: ActionResume, starts: []int64{0}}}}
	list := []Translation{{Target: "t", Offset: 5}}
	for own, want := range map[int64]int{4: 1, 5: 1, 6: 0} {
		rest, kept := p.keepProgress(list, map[kafka.TopicPartition]kafka.GroupOffset{{Topic: "t"}: {Offset: own}})
		if len(rest) != want || len(kept) != 1-want {
			t.Errorf("at %d: %d to commit, %d kept, want %d to commit", own, len(rest), len(kept), want)
		}
	}
}
