package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/sink"
	"github.com/offsite-kafka/offsite/internal/store"
)

// openOrCreate opens the cluster's repository, or makes one, which is encrypted if the
// configuration names recipients.
func openOrCreate(ctx context.Context, g *cli.Globals, st store.Store, s *sink.Sink) (*manifest.Repository, error) {
	if _, err := g.SigningKey(); err != nil {
		return nil, err
	}
	e := &g.Config.Encryption
	id, err := e.Identity()
	switch {
	case err != nil:
		return nil, err
	case e.Wanted() && id == nil:
		return nil, fmt.Errorf("%w: encryption.identityFile is missing: the identity with which this backupd reads and writes the log; \"backupd key generate\" makes one", config.ErrInvalid)
	case !e.Wanted():
		_, err := manifest.Open(ctx, st)
		if errors.Is(err, manifest.ErrNoRepository) && id != nil {
			return nil, fmt.Errorf("%w: there is an identity, but encryption.recipients is missing: who is going to read the repository?", config.ErrInvalid)
		}
		repo, err := manifest.OpenOrCreate(ctx, st, s.Cluster.ID(), time.Now())
		if err != nil {
			return nil, err
		}
		return repo, g.Unlock(repo)
	}
	readers, err := e.Readers()
	if err != nil {
		return nil, err
	}
	repo, err := manifest.OpenOrCreateEncrypted(ctx, st, s.Cluster.ID(), time.Now())
	if err != nil {
		return nil, err
	}
	if err := g.Unlock(repo); err != nil {
		return nil, err
	}
	return repo, initialize(ctx, g, repo, s.Agent, holders(readers), holders(e.WritersWith(id)))
}

func holders(list []config.Holder) (all []manifest.KeyHolder) {
	for _, h := range list {
		all = append(all, manifest.KeyHolder{Recipient: h.Recipient, Comment: h.Comment})
	}
	return all
}

// initialize gives a repository its keys if it has none, and makes sure that nobody
// reads what is written but whom the configuration names: repository and keys may be
// somebody else's.
func initialize(ctx context.Context, g *cli.Globals, repo *manifest.Repository, agent manifest.Agent, readers, writers []manifest.KeyHolder) error {
	log, err := repo.OpenLog(ctx, time.Now)
	if err != nil {
		return err
	}
	if err := log.InitializeKeys(ctx, agent, readers, writers); err != nil {
		return err
	}
	keys := log.State().Generations
	if err := repo.CheckReaders(keys); err != nil {
		return err
	}
	is := keys[len(keys)-1].Readers
	for _, r := range readers {
		switch {
		case named(is, r):
		case slices.ContainsFunc(keys, func(old manifest.Generation) bool { return named(old.Readers, r) }):
			g.Log.Warn("a recipient of the configuration was retired, and cannot read what is written: take it out of encryption.recipients", "recipient", r.Recipient)
		default:
			g.Log.Warn("a recipient of the configuration is none of the repository, and cannot read what is written: \"backupd key add\" makes it one", "recipient", r.Recipient)
		}
	}
	return nil
}

func named(list []manifest.KeyHolder, h manifest.KeyHolder) bool {
	return slices.ContainsFunc(list, func(o manifest.KeyHolder) bool { return o.Recipient == h.Recipient })
}
