package storecheck_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/dir"
	"github.com/offsite-kafka/offsite/internal/store/mem"
	"github.com/offsite-kafka/offsite/internal/storecheck"
)

const (
	ok      = storecheck.OK
	unknown = storecheck.Unknown
	warning = storecheck.Warning
	failed  = storecheck.Failed
)

var names = []string{
	"create", "read", "ranges", "delete", "create-if-absent", "list", "checksum", "clock", "lifecycle", "versioning", "lock",
}

// run checks a store and returns what was found by name.
func run(t *testing.T, st store.Store) (map[string]storecheck.Result, []string) {
	t.Helper()
	var order []string
	found := make(map[string]storecheck.Result)
	left, err := storecheck.Run(t.Context(), st, func(r storecheck.Result) {
		order = append(order, r.Check)
		found[r.Check] = r
	})
	if err != nil {
		t.Fatal(err)
	}
	want := names
	if _, ok := st.(store.Spacer); ok {
		want = append(slices.Clone(names), "space")
	}
	if !slices.Equal(order, want) {
		t.Errorf("told of %q, want %q", order, want)
	}
	return found, left
}

func keys(t *testing.T, st store.Store) []string {
	t.Helper()
	var all []string
	if err := st.List(t.Context(), "", func(info store.Info) error { all = append(all, info.Key); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// want compares states; what is not among those given must be ok.
func want(t *testing.T, found map[string]storecheck.Result, states map[string]storecheck.State) {
	t.Helper()
	for _, name := range names {
		state, given := states[name]
		if !given {
			state = ok
		}
		r := found[name]
		if r.State != state {
			t.Errorf("%s is %+v, want %s", name, r, state)
		}
		if r.Detail == "" || state == failed && r.Fix == "" || state == warning && r.Fix == "" {
			t.Errorf("%s says too little: %+v", name, r)
		}
	}
}

func TestGoodStores(t *testing.T) {
	silent := map[string]storecheck.State{"checksum": unknown, "lifecycle": unknown, "versioning": unknown, "lock": unknown}
	directory, err := dir.Open(filepath.Join(t.TempDir(), "backup"))
	if err != nil {
		t.Fatal(err)
	}
	defer directory.Close()
	for name, test := range map[string]struct {
		st     store.Store
		states map[string]storecheck.State
	}{
		"mem":    {mem.New(), silent},
		"dir":    {directory, silent},
		"bucket": {newBucket(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			put(t, test.st, "repository.json", "mine")
			found, left := run(t, test.st)
			want(t, found, test.states)
			if got := keys(t, test.st); len(left) > 0 || !slices.Equal(got, []string{"repository.json"}) {
				t.Errorf("%q stay behind, of which it says %q", got, left)
			}
			if got := found["create-if-absent"].Detail; !strings.Contains(got, fmt.Sprintf("%d racers, in each of %d rounds", storecheck.Racers, storecheck.Rounds)) {
				t.Errorf("says %q", got)
			}
		})
	}
}

func put(t *testing.T, st store.Store, key, content string) {
	t.Helper()
	if _, err := st.Put(t.Context(), key, strings.NewReader(content), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Each way to misbehave is found, and nothing else is blamed for it.
func TestBadStores(t *testing.T) {
	for name, test := range map[string]struct {
		spoil  func(*bucket)
		states map[string]storecheck.State
		word   string
	}{
		"ignores if-absent":      {ignoresIfAbsent, map[string]storecheck.State{"create-if-absent": failed}, "replaced an object that was there"},
		"two winners":            {hasTwoWinners, map[string]storecheck.State{"create-if-absent": failed}, "were told that they had"},
		"another winner":         {letsAnotherWin, map[string]storecheck.State{"create-if-absent": failed}, "holds what another wrote"},
		"no winner":              {tellsAllToHaveLost, map[string]storecheck.State{"create-if-absent": failed}, "all were told that another had"},
		"stale list":             {listsLate, map[string]storecheck.State{"list": failed}, "not listed"},
		"short range":            {cutsRanges, map[string]storecheck.State{"ranges": failed}, "gave 49 bytes, want 50"},
		"whole object for range": {ignoresRanges, map[string]storecheck.State{"ranges": failed}, "want 1"},
		"altered":                {altersContent, map[string]storecheck.State{"read": failed, "ranges": failed, "clock": unknown, "create-if-absent": failed}, "came back as"},
		"bad checksum taken":     {takesBadChecksums, map[string]storecheck.State{"checksum": failed}, "is stored"},
		"bad checksum stored":    {storesWhatItRefuses, map[string]storecheck.State{"checksum": failed}, "is stored"},
		"loses objects":          {losesObjects, map[string]storecheck.State{"read": failed, "ranges": failed, "create-if-absent": failed, "list": failed, "clock": unknown}, "is not there"},
		"undead":                 {keepsWhatIsDeleted, map[string]storecheck.State{"delete": warning}, "still there"},
		"no right to list":       {mayNotList, map[string]storecheck.State{"list": failed}, "access denied"},
		"no right to create": {mayNotPut, map[string]storecheck.State{
			"create": failed, "read": unknown, "ranges": unknown, "delete": unknown, "create-if-absent": unknown, "list": unknown, "checksum": unknown, "clock": unknown,
		}, "access denied"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBucket()
			test.spoil(b)
			found, _ := run(t, b)
			want(t, found, test.states)
			said := fmt.Sprint(found)
			if !strings.Contains(said, test.word) {
				t.Errorf("says %s, want %q in it", said, test.word)
			}
		})
	}
}

// What a store may do to racers is not held against it.
func TestUnluckyStores(t *testing.T) {
	for name, spoil := range map[string]func(*bucket){"answers lost": losesAnswers, "unsure": isUnsure} {
		t.Run(name, func(t *testing.T) {
			b := newBucket()
			spoil(b)
			found, left := run(t, b)
			want(t, found, nil)
			if got := keys(t, b); len(got) > 0 || len(left) > 0 {
				t.Errorf("%q stay behind, of which it says %q", got, left)
			}
		})
	}
}

// Who may not delete leaves few objects behind, and is told which.
func TestNoRightToDelete(t *testing.T) {
	b := newBucket()
	mayNotDelete(b)
	found, left := run(t, b)
	want(t, found, nil)
	got := keys(t, b.Store)
	if !slices.Equal(got, left) || len(got) != 1+storecheck.FewRounds {
		t.Errorf("%q stay behind, of which it says %q", got, left)
	}
	prefix, _, _ := strings.Cut(got[0], "-")
	if !strings.HasPrefix(prefix, storecheck.CanaryPrefix) || !strings.Contains(found["delete"].Detail, prefix+"-*") {
		t.Errorf("%q does not say that %q stay", found["delete"].Detail, got)
	}
}

func TestClock(t *testing.T) {
	for skew, state := range map[time.Duration]storecheck.State{
		0: ok, 20 * time.Second: ok, -20 * time.Second: ok, 10 * time.Minute: warning, -10 * time.Minute: warning,
	} {
		clock := func() time.Time { return time.Now().Add(-skew) }
		_, err := storecheck.RunAt(t.Context(), newBucket(), clock, func(r storecheck.Result) {
			if r.Check == "clock" && r.State != state {
				t.Errorf("off by %s it is %+v, want %s", skew, r, state)
			}
			if r.Check == "clock" && state == warning && !strings.Contains(r.Detail, map[bool]string{true: "ahead of", false: "behind"}[skew > 0]) {
				t.Errorf("off by %s it says %q", skew, r.Detail)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestLifecycle(t *testing.T) {
	rule := store.LifecycleRule{Name: "tidy", When: "after 30 days"}
	deletes, archives, moves := rule, rule, rule
	deletes.Deletes = true
	archives.Class, archives.Offline = "DEEP_ARCHIVE", true
	moves.Class = "STANDARD_IA"
	log, canaries, some := deletes, deletes, deletes
	log.Prefix, canaries.Prefix, some.Only = "log/", storecheck.CanaryPrefix, "whose names end in .tmp"
	for name, test := range map[string]struct {
		rules []store.LifecycleRule
		state storecheck.State
		word  string
	}{
		"none":         {nil, ok, ""},
		"deletes":      {[]store.LifecycleRule{moves, deletes}, failed, `"tidy" deletes objects after 30 days`},
		"deletes some": {[]store.LifecycleRule{log}, failed, `"tidy"`},
		"archives":     {[]store.LifecycleRule{archives}, failed, "DEEP_ARCHIVE"},
		"moves":        {[]store.LifecycleRule{moves}, ok, ""},
		"of canaries":  {[]store.LifecycleRule{canaries}, ok, ""},
		"maybe":        {[]store.LifecycleRule{some}, warning, "whose names end in .tmp"},
		"worst of all": {[]store.LifecycleRule{some, deletes, moves}, failed, "exclude the prefix"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBucket()
			b.rules = test.rules
			found, _ := run(t, b)
			want(t, found, map[string]storecheck.State{"lifecycle": test.state})
			if said := fmt.Sprint(found["lifecycle"]); !strings.Contains(said, test.word) {
				t.Errorf("says %s, want %q in it", said, test.word)
			}
		})
	}
}

func TestProtection(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*bucket)
		states map[string]storecheck.State
		word   string
	}{
		"nothing":     {func(b *bucket) { b.versions, b.locked = store.Versioning{}, store.Lock{} }, map[string]storecheck.State{"versioning": warning, "lock": warning}, "turn versioning on"},
		"soft delete": {func(b *bucket) { b.versions = store.Versioning{SoftDelete: 168 * time.Hour} }, nil, "for 7 days"},
		"not locked":  {func(b *bucket) { b.locked = store.Lock{Possible: true} }, map[string]storecheck.State{"lock": warning}, "default retention"},
		"locked":      {func(*bucket) {}, nil, "30 days (COMPLIANCE)"},
		"some policy": {func(b *bucket) { b.locked = store.Lock{Mode: "an immutability policy"} }, nil, "kept by an immutability policy"},
		"not told": {func(b *bucket) { b.tells = fmt.Errorf("it needs the right s3:X: %w", errDenied) },
			map[string]storecheck.State{"lifecycle": unknown, "versioning": unknown, "lock": unknown}, "it needs the right s3:X"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBucket()
			test.change(b)
			found, _ := run(t, b)
			want(t, found, test.states)
			if said := fmt.Sprint(found["versioning"], found["lock"]); !strings.Contains(said, test.word) {
				t.Errorf("says %s, want %q in it", said, test.word)
			}
		})
	}
}

// Where each object is to be locked, one is, and it is tried whether the server keeps it.
func TestLocks(t *testing.T) {
	took := func(b *bucket, locked bool, after error) {
		b.tryLock = func(ctx context.Context, key string, data []byte) (bool, error) {
			_, err := b.Store.Put(ctx, key, strings.NewReader(string(data)), store.PutOptions{})
			return locked, errors.Join(err, after)
		}
	}
	for name, test := range map[string]struct {
		change func(*bucket)
		state  storecheck.State
		word   string
	}{
		"kept":     {func(b *bucket) { took(b, true, nil) }, ok, "locks each object for 30 days (COMPLIANCE)"},
		"ignored":  {func(b *bucket) { took(b, false, nil) }, failed, "does not lock them"},
		"not told": {func(b *bucket) { took(b, false, errDenied) }, unknown, "is it locked?"},
		"refused": {func(b *bucket) {
			b.tryLock = func(context.Context, string, []byte) (bool, error) { return false, errDenied }
		}, failed, "s3:PutObjectRetention"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBucket()
			b.locks = store.Lock{Mode: "COMPLIANCE", For: 30 * 24 * time.Hour}
			test.change(b)
			found, left := run(t, b)
			want(t, found, map[string]storecheck.State{"lock": test.state})
			if said := fmt.Sprint(found["lock"]); !strings.Contains(said, test.word) {
				t.Errorf("says %s, want %q in it", said, test.word)
			}
			if got := keys(t, b); len(got) > 0 || len(left) > 0 {
				t.Errorf("%q stay behind, of which it says %q", got, left)
			}
		})
	}
}

// A store that does not answer does not hold the others up for ever, and what was
// put is removed.
func TestHangingStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket()
		hangs("-01")(b)
		began := time.Now()
		found, left := run(t, b)
		want(t, found, map[string]storecheck.State{"create-if-absent": failed})
		if took := time.Since(began); took != storecheck.CheckTime || !strings.Contains(found["create-if-absent"].Detail, "no answer within 30s") {
			t.Errorf("took %s: %+v", took, found["create-if-absent"])
		}
		if got := keys(t, b); len(got) > 0 || len(left) > 0 {
			t.Errorf("%q stay behind, of which it says %q", got, left)
		}
	})
}

// What was put is removed after an interruption, too.
func TestInterrupted(t *testing.T) {
	b := newBucket()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var puts atomic.Int64
	b.put = func(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
		info, err := b.Store.Put(ctx, key, r, opts)
		if puts.Add(1) == 3*storecheck.Racers {
			cancel()
		}
		return info, err
	}
	left, err := storecheck.Run(ctx, b, func(storecheck.Result) {})
	if !errors.Is(err, context.Canceled) || len(left) > 0 {
		t.Errorf("left %q, %v", left, err)
	}
	if got := keys(t, b); len(got) > 0 || puts.Load() > 4*storecheck.Racers {
		t.Errorf("%q stay behind after %d puts", got, puts.Load())
	}
}

// That there is no store is not a matter of its fitness.
func TestNoStore(t *testing.T) {
	for _, cause := range []error{store.ErrUnreachable, store.ErrInvalid} {
		b := newBucket()
		b.put = func(context.Context, string, io.Reader, store.PutOptions) (store.Info, error) {
			return store.Info{}, cause
		}
		if _, err := storecheck.Run(t.Context(), b, func(r storecheck.Result) { t.Errorf("told %+v", r) }); !errors.Is(err, cause) {
			t.Errorf("got %v, want %v", err, cause)
		}
	}
}

func TestFence(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*bucket)
		err   error
		left  int
	}{
		"good":                {func(*bucket) {}, nil, 0},
		"answers lost":        {losesAnswers, nil, 0},
		"no right to delete":  {mayNotDelete, nil, 2},
		"ignores if-absent":   {ignoresIfAbsent, storecheck.ErrNoFence, 0},
		"two winners":         {hasTwoWinners, storecheck.ErrNoFence, 0},
		"another winner":      {letsAnotherWin, storecheck.ErrNoFence, 0},
		"no winner":           {tellsAllToHaveLost, storecheck.ErrNoFence, 0},
		"loses objects":       {losesObjects, storecheck.ErrNoFence, 0},
		"no right to create":  {mayNotPut, store.ErrAuth, 0},
		"neither of the last": {func(b *bucket) { ignoresIfAbsent(b); mayNotDelete(b) }, storecheck.ErrNoFence, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBucket()
			test.spoil(b)
			left, err := storecheck.Fence(t.Context(), b)
			if !errors.Is(err, test.err) {
				t.Errorf("got %v, want %v", err, test.err)
			}
			if got := keys(t, b.Store); len(got) != test.left || !slices.Equal(got, left) && test.err != store.ErrAuth {
				t.Errorf("%q stay behind, of which it says %q", got, left)
			}
		})
	}
}

// The requests of a run are bounded.
func TestRequests(t *testing.T) {
	b := newBucket()
	var n atomic.Int64
	count := map[string]int64{}
	b.put = func(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
		n.Add(1)
		return b.Store.Put(ctx, key, r, opts)
	}
	_, _ = run(t, b)
	count["check"] = n.Swap(0)
	mayNotDelete(b)
	_, _ = run(t, b)
	count["check without deleting"] = n.Swap(0)
	if _, err := storecheck.Fence(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	count["start without deleting"] = n.Swap(0)
	want := map[string]int64{"check": 3 + 20*32, "check without deleting": 2 + 2*32, "start without deleting": 2 + 8}
	if !maps.Equal(count, want) {
		t.Errorf("puts: %v, want %v", count, want)
	}
}

// narrow is a store with an end.
type narrow struct {
	*bucket
	free, of int64
	err      error
}

func (n narrow) Space(context.Context) (free, of int64, err error) { return n.free, n.of, n.err }

// A place that is nearly full is warned of, a store that has no end is not asked.
func TestSpace(t *testing.T) {
	for _, test := range []struct {
		free, of int64
		err      error
		state    storecheck.State
		word     string
	}{
		{6 << 30, 100 << 30, nil, ok, "6.0 GiB of 100 GiB are free"},
		{4 << 30, 100 << 30, nil, warning, "4.0 GiB of 100 GiB are free"},
		{1 << 29, 1 << 30, nil, warning, "512 MiB of 1.0 GiB are free"},
		{0, 0, errors.New("nobody knows"), unknown, "nobody knows"},
	} {
		found, _ := run(t, narrow{newBucket(), test.free, test.of, test.err})
		if r := found["space"]; r.State != test.state || r.Detail != test.word || (r.Fix == "") != (r.State == ok) {
			t.Errorf("%+v: %+v", test, r)
		}
	}
	directory, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer directory.Close()
	if free, of, err := directory.Space(t.Context()); err != nil || free < 0 || of <= 0 || free > of {
		t.Errorf("a directory has %d of %d bytes, %v", free, of, err)
	}
}
