package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// threeDays is a repository of three backups, and the records that it holds
// after each.
func threeDays(t testing.TB) (frozen, []map[string][]string) {
	t.Helper()
	s, st := newSource(t), mem.New()
	cluster := connect(t, s.fake)
	var truths []map[string][]string
	for _, day := range []func(testing.TB){s.firstDay, s.secondDay, s.thirdDay} {
		day(t)
		if err := backUp(context.Background(), cluster, st, sinkConfig()); err != nil {
			t.Fatal(err)
		}
		truth := make(map[string][]string)
		for place, list := range s.truth {
			truth[place] = slices.Clone(list)
		}
		truths = append(truths, truth)
	}
	return freeze(t, st), truths
}

// repositories are those that are damaged in every way, by name: a small one, with
// the records that it holds after each of its days, and another one of the same
// days, whose objects are an older version of everything.
var repositories = map[string]func(t testing.TB) (f, other frozen, truths []map[string][]string){
	"plain": func(t testing.TB) (frozen, frozen, []map[string][]string) {
		f, truths := threeDays(t)
		other, _ := threeDays(t)
		return f, other, truths
	},
}

// damage is one way to damage a repository.
type damage struct {
	name   string
	st     frozen
	keys   []string       // one of these has to be named
	levels manifest.Level // from this one on a verification has to find it
}

// damages sends every small change of the repository's objects, and calls fn
// for them on as many goroutines as there are processors. Blocks are where
// segments end that they name.
func damages(f, other frozen, blocks map[string]int64, fn func(int, damage)) {
	todo := make(chan damage)
	var g sync.WaitGroup
	for n := range 2 {
		g.Go(func() {
			for d := range todo {
				fn(n, d)
			}
		})
	}
	for _, key := range f.keys("") {
		b := f[key]
		for i := range b {
			level := manifest.LevelIndex
			if int64(i) < blocks[key] {
				level = manifest.LevelDigest
			}
			for n := range flips() {
				bit := (i + n) % 8
				c := bytes.Clone(b)
				c[i] ^= 1 << bit
				todo <- damage{fmt.Sprintf("%s: byte %d bit %d", key, i, bit), f.with(key, c), []string{key}, level}
			}
			todo <- damage{fmt.Sprintf("%s: cut at %d of %d", key, i, len(b)), f.with(key, b[:i:i]), []string{key}, manifest.LevelIndex}
		}
		todo <- damage{key + ": a byte behind", f.with(key, append(bytes.Clone(b), 0)), []string{key}, manifest.LevelIndex}
		todo <- damage{key + ": twice", f.with(key, append(bytes.Clone(b), b...)), []string{key}, manifest.LevelIndex}
	}
	swap := func(keys []string) {
		for i, a := range keys {
			for _, b := range keys[i+1:] {
				todo <- damage{a + " and " + b + " swapped", f.with(a, f[b]).with(b, f[a]), []string{a, b}, manifest.LevelIndex}
				todo <- damage{a + " instead of " + b, f.with(b, f[a]), []string{b}, manifest.LevelIndex}
			}
		}
	}
	logs, segments := f.keys("log/"), f.keys("data/")
	swap(logs)
	swap(segments)
	older := func(keys, others []string) {
		for i, key := range keys[:min(len(keys), len(others))] { // a slow machine commits more often
			blame := []string{key}
			if key == manifest.RepositoryKey {
				blame = logs[:1] // whose predecessor it is
			}
			todo <- damage{key + ": that of another repository", f.with(key, other[others[i]]), blame, manifest.LevelIndex}
		}
	}
	for _, prefix := range []string{manifest.RepositoryKey, "log/", "data/"} {
		if other == nil {
			break
		}
		older(f.keys(prefix), other.keys(prefix))
	}
	// Nothing but the last entry tells of the last entry: see TestLastEntryGone.
	for _, key := range slices.Concat(logs[:len(logs)-1], segments, []string{manifest.RepositoryKey}) {
		todo <- damage{key + ": removed", f.with(key, nil), []string{key}, manifest.LevelIndex}
	}
	close(todo)
	g.Wait()
}

// flips says how many bits of each byte are flipped, each alone. Every checksum sees them alike.
func flips() int {
	if everyDamageOf() == 1 {
		return 8
	}
	return 1
}

// TestEveryDamageIsFound changes a small repository in every small way: a bit of each byte
// of each object, each length, each object missing, twice or in the place of
// another. Verify must name the object, at each level that can; a replay must end with an error that
// names it, and must not have emitted anything but the beginning of the truth.
func TestEveryDamageIsFound(t *testing.T) {
	t.Parallel()
	for name, make := range repositories {
		t.Run(name, func(t *testing.T) { everyDamage(t, make) })
	}
}

func everyDamage(t *testing.T, make func(testing.TB) (f, other frozen, truths []map[string][]string)) {
	f, other, truths := make(t)
	truth := truths[len(truths)-1]
	wantEveryKindOfBlock(t, f)
	if err := soundReplay(f, truth); err != nil {
		t.Fatal(err)
	}
	blocks := map[string]int64{}
	for _, key := range f.keys("data/") {
		blocks[key] = footerAt(t, f, key)
	}
	var mu sync.Mutex
	tried := 0
	var turns [2]int
	damages(f, other, blocks, func(worker int, d damage) {
		// The levels take turns: what differs between bits of a byte is nothing to them.
		turns[worker]++
		level := manifest.Level(turns[worker] % 3)
		err := errors.Join(verifyFinds(d, max(level, d.levels)), replayFinds(d, truth))
		mu.Lock()
		defer mu.Unlock()
		tried++
		if err != nil && !t.Failed() { // one is enough to read
			t.Errorf("%s: %v", d.name, err)
		}
	})
	size := 0
	for _, b := range f {
		size += len(b)
	}
	if tried < 2*size {
		t.Errorf("only %d damages in %d bytes", tried, size)
	}
	t.Logf("%d damages of %d objects, %d bytes", tried, len(f), size)
}

// wantEveryKindOfBlock makes sure that the repository is worth the trouble.
func wantEveryKindOfBlock(t *testing.T, f frozen) {
	t.Helper()
	codecs, markers := make(map[segment.Codec]int), 0
	repo, err := manifest.Open(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	state, err := repo.Read(t.Context(), 0, func(_ *manifest.State, e *manifest.Entry) error {
		for _, s := range e.Segments {
			footer, err := repo.ReadFooter(t.Context(), manifest.SegmentKey(e.Writer, s.Counter), s.Ref)
			if err != nil {
				return err
			}
			for _, l := range footer.InFileOrder() {
				codecs[l.Block.Codec]++
				markers += len(l.Block.Events)
			}
		}
		return nil
	})
	if err != nil || codecs[segment.Stored] == 0 || codecs[segment.Zstd] == 0 || markers < 6 || len(state.Groups) == 0 || state.SegmentCount < 3 {
		t.Fatalf("codecs %v, %d events, %d groups, %d segments, %v", codecs, markers, len(state.Groups), state.SegmentCount, err)
	}
}

// soundReplay says what is wrong with a repository that should be fine.
func soundReplay(f frozen, truth map[string][]string) error {
	report, err := verify(f)
	if err != nil {
		return err
	}
	if len(report.Damages) > 0 {
		return fmt.Errorf("verify finds %+v", report.Damages)
	}
	got, err := replayed(context.Background(), f)
	return errors.Join(err, compareRecords(got, truth, false))
}

func verify(f frozen) (*Report, error) { return verifyWith(f, Scope{Level: manifest.LevelDecode}) }

func verifyWith(f frozen, scope Scope) (*Report, error) {
	repo, err := manifest.Open(context.Background(), f)
	if err != nil {
		return nil, err
	}
	return Verify(context.Background(), repo, scope, nil)
}

func verifyFinds(d damage, level manifest.Level) error {
	report, err := verifyWith(d.st, Scope{Level: level, Workers: 1})
	if err != nil {
		return names("verify", err, d.keys)
	}
	for _, note := range report.Damages {
		if len(report.Restorable) == 0 && note.Entries != 1 {
			return fmt.Errorf("verify does not say what can be restored in spite of %+v", note)
		}
		if slices.Contains(d.keys, note.Key) && note.Reason != "" && len(note.Lost)+int(note.Entries) > 0 {
			return nil
		}
	}
	return fmt.Errorf("verify of level %s finds %+v", level, report.Damages)
}

func replayFinds(d damage, truth map[string][]string) error {
	got, err := replayed(context.Background(), d.st)
	if err == nil {
		return errors.New("the replay succeeds")
	}
	return errors.Join(names("replay", err, d.keys), compareRecords(got, truth, true))
}

// names wants a damage of one of the keys.
func names(what string, err error, keys []string) error {
	var found *manifest.Damage
	if !errors.Is(err, manifest.ErrDamaged) || !errors.As(err, &found) {
		return fmt.Errorf("%s ends with what is no damage: %w", what, err)
	}
	if !slices.Contains(keys, found.Key) || !strings.Contains(err.Error(), found.Key) {
		return fmt.Errorf("%s names %s: %w", what, found.Key, err)
	}
	return nil
}

// TestLastEntryGone is what no log can tell: without its last entries it is the
// repository of an earlier day, whole and consistent.
func TestLastEntryGone(t *testing.T) {
	f, truths := threeDays(t)
	for days := len(truths); days > 0; days-- {
		if err := soundReplay(f, truths[days-1]); err != nil {
			t.Errorf("%d days: %v", days, err)
		}
		logs := f.keys("log/")
		f = f.with(logs[len(logs)-1], nil)
	}
	report, err := verify(f)
	if err != nil || report.Entries != 0 || len(report.Orphans) != len(f.keys("data/")) {
		t.Errorf("no entries at all: %+v, %v", report, err)
	}
}

// A bad block costs what is in it, and nothing else of its object.
func TestOnlyTheBadBlockIsLost(t *testing.T) {
	f, _ := threeDays(t)
	sound, err := verify(f)
	if err != nil {
		t.Fatal(err)
	}
	key := f.keys("data/")[0]
	b := bytes.Clone(f[key])
	b[segment.HeaderSize] ^= 1 // in its first block
	report, err := verify(f.with(key, b))
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Damages) != 1 || report.Damages[0].Key != key || len(report.Damages[0].Lost) != 1 || report.Blocks != sound.Blocks-1 {
		t.Errorf("%d of %d blocks are sound, damages %+v", report.Blocks, sound.Blocks, report.Damages)
	}
}

// What comes before a bad log entry is checked, and can be restored by its id.
func TestBeforeABadLogEntry(t *testing.T) {
	f, _ := threeDays(t)
	logs := f.keys("log/")
	n := len(logs) - 1 // of the bad one
	bad := bytes.Clone(f[logs[n-1]])
	bad[len(bad)/2] ^= 1
	for name, st := range map[string]frozen{"a flipped bit": f.with(logs[n-1], bad), "missing": f.with(logs[n-1], nil)} {
		sound := f
		for _, key := range logs[n-1:] {
			sound = sound.with(key, nil)
		}
		want, err := verify(sound)
		if err != nil {
			t.Fatal(err)
		}
		got, err := verify(st)
		if err != nil {
			t.Fatal(err)
		}
		if got.Entries != uint64(n-1) || got.Points != want.Points || got.Blocks != want.Blocks || got.Records != want.Records || len(got.Damages) != 1 || got.Damages[0].Key != logs[n-1] || len(got.Orphans) != 0 {
			t.Errorf("%s: got %+v, want %+v and the damage", name, got, want)
		}
		repo, err := manifest.Open(t.Context(), st)
		if err != nil {
			t.Fatal(err)
		}
		last := fmt.Sprint(lastSound(t, sound))
		if _, err := Load(t.Context(), repo, "latest", firstTime); !errors.Is(err, manifest.ErrDamaged) || !strings.Contains(err.Error(), "--at "+last) {
			t.Errorf("%s: latest: %v", name, err)
		}
		snap, err := Load(t.Context(), repo, last, firstTime)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := snap.Plan(t.Context(), nil, Request{}, firstTime)
		if err != nil || plan.Records() == 0 || !slices.ContainsFunc(plan.Notes, func(n string) bool { return strings.Contains(n, "the log is damaged") }) {
			t.Errorf("%s: %d records, notes %q, %v", name, plan.Records(), plan.Notes, err)
		}
	}
}

// lastSound is the id of the newest point.
func lastSound(t *testing.T, f frozen) uint64 {
	t.Helper()
	repo, err := manifest.Open(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := Load(t.Context(), repo, "latest", firstTime)
	if err != nil {
		t.Fatal(err)
	}
	return snap.Point.Sequence
}

// A restore that ends with damage says what can be done, and what it leaves.
func TestDamageDuringARestore(t *testing.T) {
	f, _ := threeDays(t)
	key := f.keys("data/")[0]
	b := bytes.Clone(f[key])
	b[segment.HeaderSize] ^= 1
	repo, err := manifest.Open(t.Context(), f.with(key, b))
	if err != nil {
		t.Fatal(err)
	}
	cluster := connect(t, fake(t))
	plan, err := Prepare(t.Context(), repo, cluster, Request{}, firstTime)
	if err != nil {
		t.Fatal(err)
	}
	_, err = (&Runner{Cluster: cluster, Log: quiet}).Run(t.Context(), plan)
	if !errors.Is(err, manifest.ErrDamaged) {
		t.Fatal(err)
	}
	for _, want := range []string{key, "--topics", "earlier --at", "temporary configs of a restore: ", "orders"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}
