package sink

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// A reader that somebody states while Run is at work ends it, before anything is sealed for that reader.
func TestRunEndsWithAForeignReader(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.produce("t", 0, 1)
	var ids [3]*crypt.Identity // reader, writer, foreign
	var holders [3]manifest.KeyHolder
	for i := range ids {
		var err error
		if ids[i], err = crypt.GenerateIdentity(); err != nil {
			t.Fatal(err)
		}
		holders[i].Recipient = ids[i].Recipients()[0].String()
	}
	st := mem.New()
	repo, err := manifest.OpenOrCreateEncrypted(t.Context(), st, p.Cluster.ID(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	repo.Unlock(ids[1])
	repo.SealOnlyFor([]string{holders[0].Recipient})
	log, err := repo.OpenLog(t.Context(), time.Now)
	if err == nil {
		err = log.InitializeKeys(t.Context(), manifest.Agent{Program: "test"}, holders[:1], holders[1:2])
	}
	if err != nil {
		t.Fatal(err)
	}
	p.Repository = repo
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	thief, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	thief.Unlock(ids[0])
	other, err := thief.OpenLog(t.Context(), time.Now)
	if err == nil {
		_, _, err = other.AddKey(t.Context(), manifest.Agent{Program: "thief"}, holders[2], false)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.produce("t", 0, 1) // or Run, if it has committed all there was, has no reason to look at the keys
	stated := other.State().KeysEntry
	if err := <-ended; !errors.Is(err, manifest.ErrKeyHolder) {
		t.Errorf("Run = %v, want ErrKeyHolder", err)
	}
	if err := other.CatchUp(t.Context()); err != nil || other.State().Sequence != stated {
		t.Errorf("the log goes on to entry %d behind the keys of %d, %v", other.State().Sequence, stated, err)
	}
}
