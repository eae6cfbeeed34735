package source

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
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

// A backup of a cluster that was itself restored once has the state of that
// restore among its groups. It would replace the state of this one.
func TestStateOfAnEarlierRestoreStaysOut(t *testing.T) {
	a, f := newAuthor(t), fake(t)
	old := topicState{point: 1, source: kafka.TopicID{5}, target: kafka.TopicID{6}, producer: producerID{1, 0}, buildTo: buildTo, phase: phaseDone}
	entry := manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1)}, Streams: []manifest.NewStream{{Parent: -1}}, Point: point()}
	for _, id := range []string{StateGroup(a.repo.ID), StateGroup(manifest.ID{7}), "readers"} {
		entry.Groups = append(entry.Groups, manifest.GroupChange{ID: id, Offsets: []manifest.OffsetChange{
			{Topic: "orders", Committed: true, Offset: 2, Epoch: -1, Metadata: old.metadata()},
		}})
	}
	slices.SortFunc(entry.Groups, func(x, y manifest.GroupChange) int { return strings.Compare(x.ID, y.ID) })
	a.commit(entry, written{0, 0, []spec{{last: 3}}})
	res := a.run(f, Request{})
	if len(res.Groups) != 1 || res.Groups[0].Group != "readers" {
		t.Errorf("restored groups %+v, want readers only", res.Groups)
	}
	state, err := readState(t.Context(), connect(t, f), a.repo.ID)
	if err != nil {
		t.Fatal(err)
	}
	if s := state.topics["orders"]; s.target != kafka.TopicID(f.TopicInfo("orders").TopicID) {
		t.Errorf("the state of the restore is %+v, want its own", s)
	}
}
