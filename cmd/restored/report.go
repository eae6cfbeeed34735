package main

import (
	"context"
	"errors"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/source"
)

// report is what is kept of a restore in the repository.
type report struct {
	SchemaVersion int           `json:"schemaVersion"`
	Program       string        `json:"program"`
	Host          string        `json:"host"`
	Principal     string        `json:"principal"`
	Begun         time.Time     `json:"begun"`
	Ended         time.Time     `json:"ended"`
	Point         uint64        `json:"point"`
	PointTime     time.Time     `json:"pointTime"`
	LogUntil      uint64        `json:"logUntil,omitempty"` // the entry as of which the repository was read
	KafkaCluster  string        `json:"kafkaCluster"`       // the target
	Result        string        `json:"result"`
	Records       int64         `json:"records"`
	AcceptedGaps  int           `json:"acceptedGaps"` // ranges that were missing, and were accepted
	Topics        []reportTopic `json:"topics,omitempty"`
	Lost          []reportGap   `json:"lost,omitempty"` // what was accepted
}

type reportTopic struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

type reportGap struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
	Reason    string `json:"reason"`
}

// reportPatience bounds how long an end waits for its report.
const reportPatience = 30 * time.Second

// leaveReport puts a report of a restore that has ended into the repository. Who
// restores need not be allowed to, and a restore is none the worse without.
func leaveReport(ctx context.Context, g *cli.Globals, plan *source.Plan, cluster string, begun time.Time, result *source.Result, failure error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportPatience)
	defer cancel()
	who := g.Agent("restored", "run")
	p := plan.Snapshot.Point
	r := report{
		SchemaVersion: 1, Program: who.Program, Host: who.Host, Principal: who.Principal, Begun: begun.UTC(), Ended: time.Now().UTC(),
		Point: p.Sequence, PointTime: time.UnixMilli(p.Time).UTC(), LogUntil: g.LogUntil(), KafkaCluster: cluster, Result: outcome(result, failure),
	}
	if result != nil {
		for _, t := range result.Topics {
			r.Records += t.Kept
		}
	}
	if plan.Request.AcceptGap {
		r.AcceptedGaps = len(plan.Lost)
	}
	repo := plan.Snapshot.Repository
	for _, t := range plan.Topics {
		r.Topics = append(r.Topics, reportTopic{t.Source.Name, t.Target})
	}
	for _, g := range plan.Lost[:r.AcceptedGaps] {
		r.Lost = append(r.Lost, reportGap(g))
	}
	key, err := repo.PutReport(ctx, r, r.Ended)
	if err != nil {
		g.Log.Info("no report of this restore is kept in the repository", "reason", err)
		return
	}
	g.Log.Debug("a report of this restore is kept in the repository", "object", key)
}

// outcome is the word for how a restore ended.
func outcome(result *source.Result, failure error) string {
	switch {
	case errors.Is(failure, context.Canceled):
		return "interrupted"
	case failure != nil:
		return "failed"
	case !result.Complete():
		return "incomplete"
	}
	return "complete"
}
