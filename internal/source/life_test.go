package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/merge"
	"github.com/offsite-kafka/offsite/internal/replica"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/sink"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// life is an encrypted and signed repository that everything has happened to. Who did it can read no record.
type life struct {
	frozen
	truth           map[string][]string
	writer          *crypt.Identity
	retired, reader *crypt.Identity
	public          crypt.PublicKey
	signing         *crypt.SigningKey
}

var lifeAgent = manifest.Agent{Program: "test", Host: "here"}

func newIdentity(t testing.TB) *crypt.Identity {
	t.Helper()
	id, err := crypt.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func holderOf(id *crypt.Identity) manifest.KeyHolder {
	return manifest.KeyHolder{Recipient: id.Recipients()[0].String()}
}

// openAs opens a repository as somebody who trusts the key only.
func (l *life) openAs(st store.Store, id *crypt.Identity) (*manifest.Repository, error) {
	repo, err := manifest.Open(context.Background(), st)
	if err != nil {
		return nil, err
	}
	repo.Unlock(id)
	repo.SignWith(l.signing)
	repo.Trust(&l.public, nil)
	return repo, nil
}

func newLife(t testing.TB) *life {
	t.Helper()
	key, err := crypt.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	l := &life{writer: newIdentity(t), retired: newIdentity(t), reader: newIdentity(t), signing: key, public: key.Public()}
	s, st := newSource(t), mem.New()
	cluster := connect(t, s.fake)
	if _, err := manifest.OpenOrCreateEncrypted(t.Context(), st, cluster.ID(), firstTime); err != nil {
		t.Fatal(err)
	}
	as := func(id *crypt.Identity) *manifest.Repository {
		repo, err := l.openAs(st, id)
		if err != nil {
			t.Fatal(err)
		}
		return repo
	}
	logAs := func(id *crypt.Identity) *manifest.Log {
		log, err := as(id).OpenLog(t.Context(), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		return log
	}
	capture := func(day func(testing.TB)) {
		day(t)
		if _, err := (&sink.Sink{Cluster: cluster, Repository: as(l.writer), Config: sinkConfig(), Agent: lifeAgent, Log: quiet}).Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := logAs(l.writer).InitializeKeys(t.Context(), lifeAgent, []manifest.KeyHolder{holderOf(l.retired)}, []manifest.KeyHolder{holderOf(l.writer)}); err != nil {
		t.Fatal(err)
	}
	capture(s.firstDay)
	if _, _, err := logAs(l.retired).AddKey(t.Context(), lifeAgent, holderOf(l.reader), false); err != nil {
		t.Fatal(err)
	}
	capture(s.secondDay)
	if _, err := logAs(l.writer).RetireKey(t.Context(), lifeAgent, holderOf(l.retired).Recipient, false); err != nil {
		t.Fatal(err)
	}
	capture(s.thirdDay)
	merged, err := merge.New(as(l.writer), merge.Config{TargetBytes: 1 << 20, SortBytes: 8 << 10, MinSegments: 2, MinPieces: 2}, lifeAgent, quiet, time.Now).Run(t.Context())
	if err != nil || merged.Merges == 0 || merged.Damaged+merged.Dropped > 0 {
		t.Fatalf("merged %+v, %v", merged, err)
	}
	capture(func(t testing.TB) { s.produce(t, s.plain, "orders", 0, 2, true) })
	log := logAs(l.writer)
	snapshot, err := log.PutSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) {
		return &manifest.Entry{Time: time.Now().UnixMilli(), Snapshot: snapshot}, nil
	}); err != nil {
		t.Fatal(err)
	}
	p := &retention.Pruner{Repository: as(l.writer), Policy: retention.Policy{Rules: retention.Rules{Last: 2}}, MaxShare: 1, Agent: lifeAgent, Now: time.Now}
	for range 2 {
		if _, err := p.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l.frozen, l.truth = freeze(t, st), s.truth
	return l
}

// checkAs verifies, and replays the newest point.
func (l *life) checkAs(st store.Store, id *crypt.Identity, level manifest.Level) (*Report, error) {
	repo, err := l.openAs(st, id)
	if err != nil {
		return nil, err
	}
	return Verify(context.Background(), repo, Scope{Level: level, Workers: 1}, nil)
}

func (l *life) replayedAs(st store.Store, id *crypt.Identity) (map[string][]string, error) {
	repo, err := l.openAs(st, id)
	if err != nil {
		return nil, err
	}
	return replayedFrom(context.Background(), repo)
}

// Who writes an encrypted repository keeps it in order without being able to read it: captures, merges, prunes, puts snapshots, verifies digests,
// and copies. Who was retired opens nothing any more; who was added reads all.
func TestLifeOfAnEncryptedRepository(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	for key, b := range l.frozen {
		for _, text := range []string{"orders", "ledger", "packed", "readers", "key-", "value "} {
			if strings.Contains(string(b), text) || strings.Contains(key, text) {
				t.Errorf("%q can be read in %s", text, key)
			}
		}
	}
	st := mem.New()
	own, err := l.openAs(l.frozen, l.writer)
	if err != nil {
		t.Fatal(err)
	}
	c := &replica.Copier{From: own, To: st, Log: quiet}
	if _, err := c.Copy(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]store.Store{"the repository": l.frozen, "its copy": freeze(t, st)} {
		for level := manifest.LevelIndex; level <= manifest.LevelDecode; level++ {
			for who, id := range map[string]*crypt.Identity{"the writer": l.writer, "the reader": l.reader} {
				report, err := l.checkAs(of, id, level)
				if who == "the writer" && level == manifest.LevelDecode {
					if !errors.Is(err, manifest.ErrLocked) || !strings.Contains(err.Error(), "is a writer's, which reads the log but no record") {
						t.Errorf("%s verifies %s of %s: %v", who, level, name, err)
					}
					continue
				}
				if err != nil || len(report.Damages) > 0 {
					t.Errorf("%s verifies %s of %s: %+v, %v", who, level, name, report, err)
				}
			}
		}
		got, err := l.replayedAs(of, l.reader)
		if err := errors.Join(err, compareRecords(got, l.truth, false)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := l.replayedAs(of, l.writer); !errors.Is(err, manifest.ErrLocked) || errors.Is(err, manifest.ErrDamaged) || recordsIn(got) > 0 {
			t.Errorf("the writer replays %d records of %s: %v", recordsIn(got), name, err)
		}
		for who, id := range map[string]*crypt.Identity{"who was retired": l.retired, "a stranger": newIdentity(t), "nobody": nil} {
			if got, err := l.replayedAs(of, id); !errors.Is(err, manifest.ErrLocked) || errors.Is(err, manifest.ErrDamaged) || recordsIn(got) > 0 {
				t.Errorf("%s replays %d records of %s: %v", who, recordsIn(got), name, err)
			}
		}
	}
}

func recordsIn(got map[string][]string) (n int) {
	for _, list := range got {
		n += len(list)
	}
	return n
}

// TestEveryDamageOfALifeIsFound does to what was merged, pruned, sealed with several keys and signed what TestEveryDamageIsFound does to a
// simple repository, with a part of the damages that differs from run to run. What is wrong with a snapshot costs nothing, and is said.
func TestEveryDamageOfALifeIsFound(t *testing.T) {
	t.Parallel()
	l, other := newLife(t), newLife(t)
	if len(l.keys(manifest.SnapshotPrefix)) != 1 || len(l.keys(manifest.LayoutPrefix)) != 1 || len(l.keys("data/")) < 2 {
		t.Fatalf("objects %v", l.keys(""))
	}
	every := everyDamageOf()
	var all, tried atomic.Int64
	begin := time.Now().UnixNano() % every
	damages(l.frozen, other.frozen, nil, func(_ int, d damage) {
		if small := strings.Contains(d.name, " bit ") || strings.Contains(d.name, ": cut at"); small && (all.Add(1)+begin)%every != 0 || t.Failed() {
			return
		}
		tried.Add(1)
		if err := l.finds(d); err != nil {
			t.Errorf("%s: %v", d.name, err) // one is enough to read
		}
	})
	t.Logf("%d damages of %d objects", tried.Load(), len(l.frozen))
}

func (l *life) finds(d damage) error {
	report, verr := l.checkAs(d.st, l.reader, manifest.LevelDecode)
	got, rerr := l.replayedAs(d.st, l.reader)
	if strings.HasPrefix(d.keys[0], manifest.SnapshotPrefix) || strings.HasPrefix(d.keys[0], manifest.LayoutPrefix) {
		if verr != nil || !slices.ContainsFunc(report.Damages, func(x DamageNote) bool { return x.Key == d.keys[0] }) {
			return fmt.Errorf("verify of a snapshot finds %+v, %w", report, verr)
		}
		return errors.Join(rerr, compareRecords(got, l.truth, false))
	}
	if rerr == nil {
		return errors.New("the replay succeeds")
	}
	if err := errors.Join(l.names("replay", rerr, d), compareRecords(got, l.truth, true)); err != nil {
		return err
	}
	if verr != nil && !errors.Is(verr, manifest.ErrUntrusted) && !errors.Is(verr, manifest.ErrLocked) && d.keys[0] != manifest.RepositoryKey && !strings.HasPrefix(d.name, manifest.RepositoryKey) {
		return fmt.Errorf("verify does not say what is left: %w", verr)
	}
	if verr != nil {
		return l.names("verify", verr, d)
	}
	for _, x := range report.Damages {
		if slices.Contains(d.keys, x.Key) && x.Reason != "" && len(x.Lost)+int(x.Entries) > 0 {
			return nil
		}
	}
	return fmt.Errorf("verify finds %+v", report.Damages)
}

// names wants an error that is damage of one of the keys, or says that one is not to be trusted.
func (l *life) names(what string, err error, d damage) error {
	if err == nil {
		return nil
	}
	untrusted := errors.Is(err, manifest.ErrUntrusted) && slices.ContainsFunc(d.keys, func(key string) bool { return strings.Contains(err.Error(), key) })
	if untrusted {
		return nil
	}
	return names(what, err, d.keys)
}
