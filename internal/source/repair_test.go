package source

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// backedUp is a cluster with its repository, as firstDay and secondDay leave it.
func backedUp(t *testing.T) (*sourceCluster, *kafka.Cluster, frozen) {
	t.Helper()
	s, st := newSource(t), mem.New()
	cluster := connect(t, s.fake)
	for _, day := range []func(testing.TB){s.firstDay, s.secondDay} {
		day(t)
		if err := backUp(t.Context(), cluster, st, sinkConfig()); err != nil {
			t.Fatal(err)
		}
	}
	return s, cluster, freeze(t, st)
}

// mendCopy repairs a copy of a repository, and returns what it is then.
func mendCopy(t *testing.T, f frozen, cluster *kafka.Cluster, dry bool) (*Repair, frozen) {
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
	res, err := (&Repairer{Repository: repo, Cluster: cluster, Log: quiet, DryRun: dry}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return res, freeze(t, st)
}

func equalStores(a, b frozen) bool {
	return slices.Equal(a.keys(""), b.keys("")) && !slices.ContainsFunc(a.keys(""), func(k string) bool { return !bytes.Equal(a[k], b[k]) })
}

// Every single byte of a segment but those of its footer comes back as it was; without
// its footer, what it held goes to a new segment.
func TestRepairOfEveryByte(t *testing.T) {
	t.Parallel()
	_, cluster, f := backedUp(t)
	for _, key := range f.keys("data/") {
		end := footerAt(t, f, key)
		for i := range f[key] {
			bad := bytes.Clone(f[key])
			bad[i] ^= 0x55
			res, after := mendCopy(t, f.with(key, bad), cluster, false)
			trailer := int64(i) >= int64(len(bad)-16)
			switch mended := len(res.Report.Damages) == 0; {
			case len(res.Damages) != 1:
				t.Fatalf("%s: byte %d: damages %+v", key, i, res.Damages)
			case int64(i) < end || trailer:
				if !mended || !equalStores(after, f) {
					t.Fatalf("%s: byte %d: %+v", key, i, res.Damages)
				}
			case !mended || len(res.Damages[0].Moved) == 0:
				t.Fatalf("%s: byte %d of the footer: %+v", key, i, res.Damages)
			case i%16 == 0:
				if report := verifyAt(t, after, Scope{Level: manifest.LevelDecode}); len(report.Damages)+len(report.Losses) > 0 {
					t.Fatalf("%s: byte %d of the footer: verify says %+v %+v", key, i, report.Damages, report.Losses)
				}
			}
		}
		for name, bad := range map[string][]byte{"too long": append(bytes.Clone(f[key]), 0)} {
			if res, after := mendCopy(t, f.with(key, bad), cluster, false); len(res.Report.Damages) > 0 || !equalStores(after, f) {
				t.Errorf("%s: %s: %+v", key, name, res.Damages)
			}
		}
	}
}

// firstSegment returns the key of the first segment that the log names. Their
// names have no order: they begin with random ids of writers.
func (f frozen) firstSegment(t *testing.T) (key string) {
	t.Helper()
	repo, err := manifest.Open(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Read(t.Context(), 0, func(_ *manifest.State, e *manifest.Entry) error {
		if key == "" && len(e.Segments) > 0 {
			key = manifest.SegmentKey(e.Writer, e.Segments[0].Counter)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return key
}

// What the cluster has no more stays lost, and is said; the rest comes back.
func TestRepairOfAPart(t *testing.T) {
	s, cluster, f := backedUp(t)
	key := f.firstSegment(t)
	b := bytes.Clone(f[key])
	for i := segment.HeaderSize; i < footerAt(t, f, key); i++ {
		b[i] ^= 1
	}
	bad := f.with(key, b)
	if res, after := mendCopy(t, bad, cluster, true); len(res.Report.Damages) > 0 || len(res.Damages[0].Done) < 4 || !equalStores(after, bad) {
		t.Errorf("a dry run: %+v", res.Damages)
	}
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: "orders", Partition: 0, At: 2})
	if _, err := kadm.NewClient(s.plain).DeleteRecords(t.Context(), offsets); err != nil {
		t.Fatal(err)
	}
	res, after := mendCopy(t, bad, cluster, false)
	m := res.Damages[0]
	m.Done = append(m.Done, m.Moved...)
	if len(m.Left) != 1 || m.Left[0].Topic != "orders" || m.Left[0].Key.Partition != 0 || len(m.Done) < 3 || !strings.Contains(m.Why, errTooOld.Error()) {
		t.Fatalf("got %+v", m)
	}
	runs := res.Report.Restorable
	if len(runs) == 0 || !slices.Equal(runs[len(runs)-1].Topics, []string{"orders"}) {
		t.Errorf("restorable: %+v", runs)
	}
	report := verifyAt(t, after, Scope{Level: manifest.LevelDecode})
	if len(report.Damages) > 0 || len(report.Losses) != 1 || report.Losses[0].LostRange.String() != m.Left[0].String() || report.Losses[0].Count == 0 {
		t.Errorf("verify says %+v, %+v", report.Damages, report.Losses)
	}
	res, _ = mendCopy(t, bad, connect(t, fake(t)), false)
	if m = res.Damages[0]; len(m.Done) > 0 || len(m.Left) < 4 || strings.Count(m.Why, "not in the cluster") != 1 {
		t.Errorf("of another cluster: %+v", res.Damages)
	}
	for _, l := range m.Left {
		if !strings.Contains(m.Why, l.String()) {
			t.Errorf("nothing says why %s is lost: %s", l, m.Why)
		}
	}
	if res, _ := mendCopy(t, f.with(key, nil), cluster, false); res.Damages[0].Why == "" || len(res.Damages[0].Left) != 1 || len(res.Damages[0].Moved) < 3 {
		t.Errorf("without the object: %+v", res.Damages)
	}
}

// Ranges are listed by topic, partition and offset, whatever the log calls the streams.
func TestRepairListsByName(t *testing.T) {
	job := &relocation{}
	for stream, name := range []string{"orders", "bills"} {
		for _, partition := range []int32{10, 9} {
			w := stretch{track: &track{name: name, key: manifest.StreamKey{Partition: partition}}, start: 0, next: 3}
			w.stream = 2*stream + int(partition)%2
			job.parts = append(job.parts, salvaged{stretch: w, block: &segment.Block{}})
		}
	}
	m := &Mended{}
	job.tell(m)
	if got := fmt.Sprint(m.Moved); got != "[bills-9 [0,3) bills-10 [0,3) orders-9 [0,3) orders-10 [0,3)]" {
		t.Errorf("moved: %s", got)
	}
}

// Records may be deleted up to the middle of a batch, which the cluster then still has as it was.
func TestRepairOfABatchDeletedInPart(t *testing.T) {
	s, st := newSource(t), mem.New()
	cluster := connect(t, s.fake)
	var batch []*kgo.Record
	for i := range 30 {
		batch = append(batch, &kgo.Record{Topic: "orders", Partition: 0, Value: fmt.Append(nil, i)})
	}
	for _, n := range []int{3, 27} { // a batch each
		if err := s.plain.ProduceSync(t.Context(), batch[:n]...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		batch = batch[n:]
	}
	if err := backUp(t.Context(), cluster, st, sinkConfig()); err != nil {
		t.Fatal(err)
	}
	f := freeze(t, st)
	deleteUpTo := func(at int64) {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: "orders", Partition: 0, At: at})
		if _, err := kadm.NewClient(s.plain).DeleteRecords(t.Context(), offsets); err != nil {
			t.Fatal(err)
		}
	}
	deleteUpTo(2)
	if res, after := mendCopy(t, f.with(f.firstSegment(t), nil), cluster, false); len(res.Damages[0].Left) > 0 || len(verifyAt(t, after, Scope{Level: manifest.LevelDecode}).Losses) > 0 {
		t.Errorf("nothing is lost of the first batch: %+v", res.Damages)
	}
	deleteUpTo(10)
	res, after := mendCopy(t, f.with(f.firstSegment(t), nil), cluster, false)
	m := res.Damages[0]
	if len(m.Left) != 1 || m.Left[0].String() != "orders-0 [0,3)" || len(m.Moved) != 1 || m.Moved[0].String() != "orders-0 [3,30)" {
		t.Fatalf("got %+v", m)
	}
	if report := verifyAt(t, after, Scope{Level: manifest.LevelDecode}); len(report.Damages) > 0 || len(report.Losses) != 1 || report.Losses[0].LostRange.String() != "orders-0 [0,3)" {
		t.Errorf("verify says %+v, %+v", report.Damages, report.Losses)
	}
}

// What is as its digests say and still cannot be, a repair does not call mended, with or without a cluster.
func TestContradictionsAreNotMendable(t *testing.T) {
	lost := []LostRange{{Topic: "orders", From: 3, To: 6}}
	for _, d := range []DamageNote{
		{Key: manifest.SegmentKey(manifest.ID{1}, 1), Reason: "why", Lost: lost, contradicts: true},
		{Key: manifest.LogKey(7), Reason: "why", Lost: lost},
	} {
		m, err := new(Repairer).mend(t.Context(), &d)
		if err != nil || len(m.Done)+len(m.Moved) > 0 || len(m.Left) != 1 || !strings.Contains(m.Why, "why") {
			t.Errorf("%s: %+v, %v", d.Key, m, err)
		}
	}
}
