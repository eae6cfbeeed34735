package main

import (
	"context"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

// memoryLimit keeps the process below the 256 MB that it promises.
const memoryLimit = 190 << 20

// selection are the flags that say what comes back.
type selection struct {
	at     string
	topics []string
	rename []string

	atOffsets string
	until     string
	acceptGap bool

	given func(flag string) bool // on the command line
	keys  map[string]bool        // flags for which the file speaks
	// Of the file: see adopt.
	fileTopics []string
	fileRename map[string]string
	overrides  []config.Override
}

func (s *selection) register(cmd *cobra.Command) {
	f := cmd.Flags()
	s.given, s.keys = f.Changed, make(map[string]bool)
	f.StringVar(&s.at, "at", "latest", "recovery `POINT`: latest, an id or a name of \"restored list\", or a time (RFC 3339, without a zone in UTC; epoch ms; -2h) for the newest point that is not later")
	f.StringArrayVar(&s.topics, "topics", nil, "topics by `PATTERNS`, separated by commas: literals, globs or /regular expressions/; ! excludes; NAME@N is an older incarnation (default all)")
	f.StringArrayVar(&s.rename, "rename", nil, "restore a topic under another name, `OLD=NEW` (repeatable, or separated by commas)")
	f.StringVar(&s.atOffsets, "at-offsets", "", "end the partitions that the `FILE` names at its offsets instead of the point's: JSON or CSV with topic, partition and offset, or as \"restored offsets\" prints it")
	f.StringVar(&s.until, "until-timestamp", "", "leave out records with a timestamp after `TIME`, written as for --at")
	f.BoolVar(&s.acceptGap, "accept-gap", false, "restore although records are missing that the source deleted before they were captured")
}

func (s *selection) request() (source.Request, error) {
	r := source.Request{At: s.at, AcceptGap: s.acceptGap, Rename: make(map[string]string), Topics: slices.Clone(s.fileTopics)}
	if err := s.bound(&r); err != nil {
		return r, err
	}
	if err := s.override(&r); err != nil {
		return r, err
	}
	maps.Copy(r.Rename, s.fileRename)
	for _, list := range s.topics {
		r.Topics = append(r.Topics, pattern.Split(list)...)
	}
	for _, text := range r.Topics {
		if _, err := pattern.Parse([]string{text}); err != nil {
			return r, cli.Usagef("--topics: %v", err)
		}
	}
	for _, pair := range strings.Split(strings.Join(s.rename, ","), ",") {
		if len(s.rename) == 0 {
			break
		}
		from, to, ok := strings.Cut(pair, "=")
		if !ok || from == "" || to == "" {
			return r, cli.Usagef("--rename %q: want OLD=NEW", pair)
		}
		if _, twice := r.Rename[from]; twice {
			return r, cli.Usagef("--rename names %s twice", from)
		}
		r.Rename[from] = to
	}
	return r, nil
}

// maxVector bounds what is read of a file of offsets, in bytes.
const maxVector = 32 << 20

// bound puts in what narrows down the point.
func (s *selection) bound(r *source.Request) error {
	if s.until != "" {
		t, err := source.ParseTime(s.until, time.Now())
		if err != nil {
			return cli.Usagef("%s %q: %v", s.said("until-timestamp"), s.until, err)
		}
		ms := t.UnixMilli()
		r.Until = &ms
	}
	if s.atOffsets == "" {
		return nil
	}
	said := s.said("at-offsets")
	file, err := os.Open(s.atOffsets)
	if err != nil {
		return cli.Usagef("%s: %v", said, err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxVector+1))
	if err != nil {
		return cli.Usagef("%s: %v", said, err)
	}
	if len(text) > maxVector {
		return cli.Usagef("%s %s: more than %d bytes", said, s.atOffsets, maxVector)
	}
	if r.Vector, err = source.ParseVector(text); err != nil {
		return cli.Usagef("%s %s: %v", said, s.atOffsets, err)
	}
	return nil
}

// target are the flags that say how it comes back.
type target struct {
	selection
	ifExists    string
	hold        time.Duration
	replication int16
	parts       []string
}

func (t *target) register(cmd *cobra.Command) {
	t.selection.register(cmd)
	f := cmd.Flags()
	f.StringVar(&t.ifExists, "if-exists", "refuse", "`WHAT` to do if a target topic holds records: refuse or append")
	cli.DurationFlag(f, &t.hold, "hold-retention", "keep records that the topic's retention would delete for this `DURATION` longer")
	f.StringSliceVar(&t.parts, "metadata", nil, "restore only these `PARTS`: "+strings.Join(source.Parts(), ", ")+" (default topics,configs)")
	f.Int16Var(&t.replication, "replication-factor", 0, "replication factor `N` of created topics (default the source's)")
}

func (t *target) request() (source.Request, error) {
	r, err := t.selection.request()
	switch {
	case err != nil:
		return r, err
	case t.ifExists != "refuse" && t.ifExists != "append":
		return r, cli.Usagef("--if-exists %q: want refuse or append", t.ifExists)
	case t.hold < 0:
		return r, cli.Usagef("--hold-retention %s: cannot be negative", t.hold)
	case t.replication < 0:
		return r, cli.Usagef("--replication-factor %d: cannot be negative", t.replication)
	}
	r.Append, r.HoldRetention, r.ReplicationFactor, r.Parts = t.ifExists == "append", t.hold, t.replication, t.parts
	return r, t.checkParts()
}

func (t *target) checkParts() error {
	for _, part := range t.parts {
		if !slices.Contains(source.Parts(), part) {
			return cli.Usagef("%s %s: want some of %s", t.said("metadata"), part, strings.Join(source.Parts(), ", "))
		}
	}
	if slices.Contains(t.parts, source.PartConfigs) && !slices.Contains(t.parts, source.PartTopics) {
		return cli.Usagef("%s configs goes with topics: configs are set when their topic is restored", t.said("metadata"))
	}
	return nil
}

// prepare plans a restore. The cluster is closed by the caller. opened, which may be
// nil, is called before anything is read.
func (t *target) prepare(ctx context.Context, g *cli.Globals, opened func(*manifest.Repository)) (*source.Plan, *kafka.Cluster, error) {
	cli.LimitMemory(memoryLimit)
	t.adopt(&g.Config.Restore)
	req, err := t.request()
	if err != nil {
		return nil, nil, err
	}
	repo, err := g.Repository(ctx)
	if err != nil {
		return nil, nil, err
	}
	cluster, err := g.Connect(ctx, "restored")
	if err != nil {
		return nil, nil, err
	}
	if opened != nil {
		opened(repo)
	}
	plan, err := prepare(ctx, g, repo, cluster, req)
	if err != nil {
		cluster.Close()
		return nil, nil, err
	}
	return plan, cluster, nil
}

// patience is how long requests are repeated that fail for a reason that passes.
const patience = time.Minute

// prepare plans, patiently: it changes nothing.
func prepare(ctx context.Context, g *cli.Globals, repo *manifest.Repository, cluster *kafka.Cluster, req source.Request) (plan *source.Plan, err error) {
	err = source.Patience{Limit: patience, Log: g.Log}.Do(ctx, "plan", func() error {
		plan, err = source.Prepare(ctx, repo, cluster, req, time.Now())
		return err
	})
	return plan, err
}
