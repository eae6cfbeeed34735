package source

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// thawed is a repository that can be written to, opened by an identity if there is one.
func thawed(t *testing.T, f frozen, id *crypt.Identity) *manifest.Repository {
	t.Helper()
	st := mem.New()
	for key, b := range f {
		if _, err := st.Put(t.Context(), key, bytes.NewReader(b), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	if id != nil {
		repo.Unlock(id)
	}
	return repo
}

func repairOf(t *testing.T, repo, replica *manifest.Repository, cluster *kafka.Cluster, dry bool) *Repair {
	t.Helper()
	if _, err := repo.State(t.Context(), 0); err != nil { // which opens the keys
		t.Fatal(err)
	}
	res, err := (&Repairer{Repository: repo, Replica: replica, Cluster: cluster, Agent: manifest.Agent{Program: "test"}, Log: quiet, DryRun: dry}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// whole makes sure that a repository yields the truth, and that nothing of it is damaged or lost.
func whole(t *testing.T, repo *manifest.Repository, truth map[string][]string) {
	t.Helper()
	got, err := replayedFrom(t.Context(), repo)
	if err := errors.Join(err, compareRecords(got, truth, false)); err != nil {
		t.Fatal(err)
	}
	report, err := Verify(t.Context(), repo, Scope{Level: manifest.LevelDecode}, nil)
	if err != nil || len(report.Damages)+len(report.Losses) > 0 {
		t.Fatalf("verify: %+v, %+v, %v", report.Damages, report.Losses, err)
	}
}

// What is sealed comes back sealed anew, from a cluster that still has it.
func TestRepairOfWhatIsSealed(t *testing.T) {
	f, truth, id, cluster := sealedWithCluster(t)
	for _, key := range f.keys("data/") {
		for name, bad := range map[string][]byte{
			"a block": flipped(f[key], 8), "the footer": flipped(f[key], len(f[key])-40), "missing": nil, "cut": f[key][:len(f[key])/2],
		} {
			repo := thawed(t, f.with(key, bad), id)
			res := repairOf(t, repo, nil, cluster, false)
			if m := res.Damages[0]; len(res.Damages) != 1 || m.Why != "" || len(m.Moved) == 0 || len(m.Done) > 0 {
				t.Fatalf("%s: %s: %+v", key, name, res.Damages)
			}
			whole(t, repo, truth)
		}
	}
}

func flipped(b []byte, at int) []byte {
	c := bytes.Clone(b)
	c[at] ^= 1
	return c
}

// When the cluster is gone, a copy mends what it has. The rest is not given up: the cluster may have it.
func TestRepairWithoutTheCluster(t *testing.T) {
	s, cluster, f := backedUp(t)
	key := f.firstSegment(t)
	repo := thawed(t, f.with(key, nil), nil)
	res := repairOf(t, repo, thawed(t, f.with(key, nil), nil), nil, false)
	if m := res.Damages[0]; m.Why != errNotAsked.Error() || m.Quarantined || len(m.Left) == 0 || len(m.Done)+len(m.Moved) > 0 || len(res.Report.Damages) != 1 {
		t.Errorf("the copy has lost it, too: %+v", res)
	}
	trailer := bytes.Clone(f[key])
	trailer[len(trailer)-1] ^= 1
	both := f.with(key, trailer)
	if res = repairOf(t, thawed(t, both, nil), thawed(t, both, nil), nil, false); res.Damages[0].Why != "" || len(res.Report.Damages) > 0 {
		t.Errorf("of a trailer nobody has to be asked: %+v", res)
	}
	for _, dry := range []bool{true, false} {
		if res = repairOf(t, repo, thawed(t, f, nil), nil, dry); res.Damages[0].Why != "" || len(res.Damages[0].Done) == 0 || len(res.Report.Damages) > 0 {
			t.Errorf("from a copy, dry %v: %+v", dry, res)
		}
	}
	whole(t, repo, s.truth)
	repo = thawed(t, f.with(key, nil), nil)
	if res = repairOf(t, repo, thawed(t, f.with(key, nil), nil), cluster, false); res.Damages[0].Why != "" {
		t.Errorf("with the cluster: %+v", res.Damages)
	}
	whole(t, repo, s.truth)
}

// What the cluster has no more is quarantined: restores that need it are refused
// unless that is accepted, merges and copies are not held up, and it comes back from a copy.
func TestQuarantine(t *testing.T) {
	s, cluster, f := backedUp(t)
	key := f.firstSegment(t)
	b := bytes.Clone(f[key])
	for i := 8; i < len(b)-16; i++ {
		b[i] ^= 1
	}
	admin := kadm.NewClient(s.plain)
	ends, err := admin.ListEndOffsets(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup("orders", 0)
	for _, part := range []struct {
		name string
		at   int64
	}{{"a part of a block", 2}, {"all", end.Offset}} {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: "orders", Partition: 0, At: part.at})
		if _, err := admin.DeleteRecords(t.Context(), offsets); err != nil {
			t.Fatal(err)
		}
		t.Run(part.name+", damaged", func(t *testing.T) { s.quarantine(t, cluster, f, key, b) })
		t.Run(part.name+", missing", func(t *testing.T) { s.quarantine(t, cluster, f, key, nil) })
	}
}

func (s *sourceCluster) quarantine(t *testing.T, cluster *kafka.Cluster, f frozen, key string, bad []byte) {
	repo := thawed(t, f.with(key, bad), nil)
	if dry := repairOf(t, repo, nil, cluster, true); !dry.Damages[0].Quarantined || len(dry.Damages[0].Moved) == 0 {
		t.Fatalf("a dry run: %+v", dry.Damages)
	}
	if state := stateOf(t, repo); state.Moved != 0 {
		t.Fatal("a dry run changes something")
	}
	res := repairOf(t, repo, nil, cluster, false)
	if m := res.Damages[0]; !m.Quarantined || len(m.Left) != 1 || len(m.Moved) == 0 || !strings.HasPrefix(m.Left[0].String(), "orders-0 ") || len(res.Report.Losses) != 1 {
		t.Fatalf("got %+v", res)
	}
	report, err := Verify(t.Context(), repo, Scope{Level: manifest.LevelDecode}, nil)
	if err != nil || len(report.Damages) > 0 || len(report.Losses) != 1 || report.Losses[0].Count != 2 {
		t.Fatalf("verify: %+v, %+v, %v", report.Damages, report.Losses, err)
	}
	if dry := repairOf(t, repo, nil, cluster, true); len(dry.Report.Losses) != 1 || dry.Report.Losses[0].Count != 2 {
		t.Errorf("a dry run without a copy: %+v", dry.Report)
	}
	if again := repairOf(t, repo, nil, cluster, false); len(again.Damages) != 1 || again.Damages[0].Why != res.Damages[0].Why || len(again.Damages[0].Moved) > 0 || stateOf(t, repo).Sequence != report.Entries {
		t.Errorf("a second repair: %+v", again.Damages)
	}
	s.planWithLoss(t, repo)
	if r, err := merger(repo, smallMerges).Run(t.Context()); err != nil || r.Damaged > 0 {
		t.Errorf("a merge: %+v, %v", r, err)
	}
	s.planWithLoss(t, repo)
	at := stateOf(t, repo).Sequence
	if kept := repairOf(t, repo, thawed(t, f.with(key, bad), nil), nil, false); len(kept.Damages) != 1 || !kept.Damages[0].Quarantined || len(kept.Damages[0].Left) == 0 || stateOf(t, repo).Sequence != at {
		t.Errorf("without the cluster, from a copy that has lost it, too: %+v", kept.Damages)
	}
	if bad == nil {
		cluster = nil // the copy is enough
	}
	if dry := repairOf(t, repo, thawed(t, f, nil), cluster, true); len(dry.Damages[0].Moved) == 0 || len(dry.Report.Losses) > 0 || len(dry.Report.Restorable) != 1 || len(dry.Report.Restorable[0].Topics) > 0 {
		t.Errorf("a dry run with a copy: %+v, %+v", dry.Damages, dry.Report)
	}
	lifted := repairOf(t, repo, thawed(t, f, nil), cluster, false)
	if m := lifted.Damages[0]; len(lifted.Damages) != 1 || m.Why != "" || len(m.Moved) == 0 {
		t.Fatalf("from a copy: %+v", lifted.Damages)
	}
	whole(t, repo, s.truth)
}

// planWithLoss makes sure that a plan is refused for a loss, and names it, unless that is accepted.
func (s *sourceCluster) planWithLoss(t *testing.T, repo *manifest.Repository) {
	t.Helper()
	snap, err := Load(t.Context(), repo, "latest", now)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := snap.Plan(t.Context(), nil, Request{}, now)
	if err != nil || len(plan.Lost) != 1 || plan.Lost[0].Topic != "orders" || len(plan.Refusals) != 1 || !strings.Contains(plan.Refusals[0], "damaged in the backup") || !strings.Contains(plan.Refusals[0], "--accept-gap") || !strings.Contains(strings.Join(plan.Notes, "\n"), "backupd repair --from COPY") {
		t.Fatalf("the plan: %+v, %v", plan, err)
	}
	if plan, err = snap.Plan(t.Context(), nil, Request{AcceptGap: true}, now); err != nil || len(plan.Refusals) > 0 {
		t.Fatalf("the plan that accepts it: %+v, %v", plan, err)
	}
	content := snap.Content()
	if err := content.MarkRemoved(t.Context(), snap); err != nil || len(content.Losses) != 1 {
		t.Errorf("show: %+v, %v", content.Losses, err)
	}
	if w, err := ReadWindow(t.Context(), repo, Listing{}); err != nil || len(w.Losses) != 1 {
		t.Errorf("list: %+v, %v", w, err)
	}
	sound, err := snap.Plan(t.Context(), nil, Request{Topics: []string{"ledger"}}, now)
	if err != nil || len(sound.Refusals) > 0 {
		t.Errorf("the plan of a topic that is whole: %+v, %v", sound, err)
	}
}

// The same offsets of another branch, or of another incarnation, are never taken.
func TestRepairTakesNoOtherBranch(t *testing.T) {
	_, cluster, f := backedUp(t)
	key := f.firstSegment(t)
	repo := thawed(t, f.with(key, nil), nil)
	if _, err := repo.State(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	r := &Repairer{Repository: repo, Cluster: cluster, Log: quiet}
	fetcher, err := cluster.NewFetcher()
	if err != nil {
		t.Fatal(err)
	}
	defer fetcher.Close()
	r.reader = &rereader{&live{cluster: cluster, patience: Patience{0, quiet}}, fetcher}
	report, err := Verify(t.Context(), repo, Scope{Level: manifest.LevelDigest}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range report.Damages[0].claims {
		if p, err := r.reader.prove(t.Context(), &w, nil); err != nil || p.from != w.start {
			t.Errorf("%s [%d,%d): %v", w.track.name, w.start, w.next, err)
		}
		other := w
		other.epoch++
		if _, err := r.reader.prove(t.Context(), &other, nil); !errors.Is(err, errOtherBytes) {
			t.Errorf("of another leader epoch: %v", err)
		}
		other = w
		other.epoch = epochUnstated
		if _, err := r.reader.prove(t.Context(), &other, nil); !errors.Is(err, errUnproven) {
			t.Errorf("of an unknown leader epoch: %v", err)
		}
		other = w
		other.span.Records++
		if _, err := r.reader.prove(t.Context(), &other, nil); !errors.Is(err, errOtherBytes) {
			t.Errorf("with a record too few: %v", err)
		}
		other = w
		other.track = &track{name: w.track.name, key: w.track.key}
		other.track.key.TopicID[0] ^= 1
		if _, err := r.reader.prove(t.Context(), &other, nil); err == nil || hopeless(err) == "" {
			t.Errorf("of another incarnation: %v", err)
		}
	}
}
