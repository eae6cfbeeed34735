package sink

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Check proves that everything selected can be captured: topics, their configs
// and the groups. It is what a session begins with, but needs no repository, so
// that none is made for what cannot be captured. The error is ErrNoTopics if that
// is all that stands in the way. It waits a while for brokers
// that are down: their successors are being elected.
func (s *Sink) Check(ctx context.Context) error {
	deadline := time.Now().Add(s.Config.Patience)
	for {
		err := s.check(ctx)
		if !errors.Is(err, kafka.ErrRetriable) || time.Now().After(deadline) {
			return err
		}
		s.Log.Warn("the cluster does not answer as it should, trying again", "error", err)
		wait(ctx, nil, minRetry)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// check is one attempt.
func (s *Sink) check(ctx context.Context) error {
	trial := &Sink{Cluster: s.Cluster, Config: s.Config, Log: slog.New(slog.DiscardHandler)}
	ses := trial.newSession(&manifest.State{}, false)
	if err := ses.observer.begin(ctx); err != nil {
		return err
	}
	found, err := ses.observer.lookUp(ctx)
	if err != nil {
		return err
	}
	if err := ses.observer.reconcile(ctx, found); err != nil {
		return err
	}
	if err := ses.observer.readConfigs(ctx); err != nil {
		return err
	}
	if _, err = ses.observer.groups(ctx, ses.observer.log() != nil); err != nil {
		return err
	}
	return ses.observer.admit(ctx, found)
}
