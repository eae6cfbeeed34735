package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/sink"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// encryptedDays is what threeDays makes, encrypted for the identity that it returns.
func encryptedDays(t testing.TB) (frozen, map[string][]string, *crypt.Identity) {
	t.Helper()
	f, truth, id, _ := sealedWithCluster(t)
	return f, truth, id
}

// sealedWithCluster returns the cluster, too.
func sealedWithCluster(t testing.TB) (frozen, map[string][]string, *crypt.Identity, *kafka.Cluster) {
	t.Helper()
	id, err := crypt.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	s, st := newSource(t), mem.New()
	cluster := connect(t, s.fake)
	for _, day := range []func(testing.TB){s.firstDay, s.secondDay, s.thirdDay} {
		day(t)
		repo, err := manifest.OpenOrCreateEncrypted(t.Context(), st, cluster.ID(), firstTime)
		if err != nil {
			t.Fatal(err)
		}
		repo.Unlock(id)
		log, err := repo.OpenLog(t.Context(), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if err := log.InitializeKeys(t.Context(), manifest.Agent{Program: "test"}, []manifest.KeyHolder{{Recipient: id.Recipients()[0].String()}}, nil); err != nil {
			t.Fatal(err)
		}
		capture := &sink.Sink{Cluster: cluster, Repository: repo, Config: sinkConfig(), Agent: manifest.Agent{Program: "test"}, Log: quiet}
		if _, err := capture.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return freeze(t, st), s.truth, id, cluster
}

// TestEveryDamageOfEncryptedIsFound does to an encrypted repository what
// TestEveryDamageIsFound does to another, with a part of the damages that differs from
// run to run; OFFSITE_TEST_EVERY_DAMAGE makes it all of them.
func TestEveryDamageOfEncryptedIsFound(t *testing.T) {
	t.Parallel()
	f, truth, id := encryptedDays(t)
	got, err := replayedAs(f, id)
	if err := errors.Join(err, compareRecords(got, truth, false)); err != nil {
		t.Fatal(err)
	}
	for key, b := range f {
		for _, text := range []string{"orders", "ledger", "packed", "readers", "key-", "value "} {
			if strings.Contains(string(b), text) {
				t.Errorf("%q can be read in %s", text, key)
			}
		}
	}
	every := everyDamageOf()
	var all, tried, begin atomic.Int64
	begin.Store(time.Now().UnixNano() % every)
	damages(f, nil, nil, func(_ int, d damage) {
		if small := strings.Contains(d.name, " bit ") || strings.Contains(d.name, ": cut at"); small && (all.Add(1)+begin.Load())%every != 0 || t.Failed() {
			return
		}
		tried.Add(1)
		if err := errors.Join(verifyFindsAs(d, id), replayFindsAs(d, id, truth)); err != nil {
			t.Errorf("%s: %v", d.name, err) // one is enough to read
		}
	})
	t.Logf("%d damages of %d objects", tried.Load(), len(f))
}

// everyDamageOf says which part of all damages is tried: one of so many. All of them, with each bit of each byte, are
// tried where OFFSITE_TEST_EVERY_DAMAGE is set.
func everyDamageOf() int64 {
	if os.Getenv("OFFSITE_TEST_EVERY_DAMAGE") != "" {
		return 1
	}
	return 127
}

func replayedAs(f frozen, id *crypt.Identity) (map[string][]string, error) {
	repo, err := manifest.Open(context.Background(), f)
	if err != nil {
		return nil, err
	}
	repo.Unlock(id)
	return replayedFrom(context.Background(), repo)
}

func verifyFindsAs(d damage, id *crypt.Identity) error {
	repo, err := manifest.Open(context.Background(), d.st)
	if err != nil {
		return names("open", err, d.keys)
	}
	repo.Unlock(id)
	report, err := Verify(context.Background(), repo, Scope{Level: manifest.LevelDecode}, nil)
	if err != nil {
		return names("verify", err, d.keys)
	}
	for _, note := range report.Damages {
		if slices.Contains(d.keys, note.Key) && note.Reason != "" && len(note.Lost)+int(note.Entries) > 0 {
			return nil
		}
	}
	return fmt.Errorf("verify finds %+v", report.Damages)
}

func replayFindsAs(d damage, id *crypt.Identity, truth map[string][]string) error {
	got, err := replayedAs(d.st, id)
	if err == nil {
		return errors.New("the replay succeeds")
	}
	return errors.Join(names("replay", err, d.keys), compareRecords(got, truth, true))
}

// A repository that takes the place of an encrypted one, or whose objects come from another one, is never read as that.
func TestForeignObjectsAreRefused(t *testing.T) {
	t.Parallel()
	f, _, id := encryptedDays(t)
	other, _, _ := encryptedDays(t)
	plain, _ := threeDays(t)
	for _, from := range []struct {
		what string
		frozen
	}{{"another encrypted repository", other}, {"one that is not encrypted", plain}} {
		for n, prefix := range []string{"log/", "data/"} {
			for i, key := range f.keys(prefix) {
				theirs := from.keys(prefix)
				got, err := replayedAs(f.with(key, from.frozen[theirs[min(i, len(theirs)-1)]]), id)
				if !errors.Is(err, manifest.ErrDamaged) || !strings.Contains(err.Error(), key) || len(got) > 0 && n == 0 {
					t.Errorf("%s of %s: %v", key, from.what, err)
				}
			}
		}
	}
}
