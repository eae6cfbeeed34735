package main

import (
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

// status is the JSON of backupd status.
type status struct {
	SchemaVersion int                  `json:"schemaVersion"`
	Repository    string               `json:"repository"`
	Cluster       string               `json:"kafkaCluster"`
	Created       time.Time            `json:"created"`
	Entries       uint64               `json:"entries"`
	LastCommit    *time.Time           `json:"lastCommit"`
	LastPoint     *pointStatus         `json:"lastPoint"`
	Points        int                  `json:"points"`
	Segments      int64                `json:"segments"`
	StoredBytes   int64                `json:"storedBytes"`
	Groups        int                  `json:"groups"`
	GroupOffsets  string               `json:"groupOffsets"` // log or polled
	Writer        *writerStatus        `json:"writer"`
	Topics        []topicStatus        `json:"topics"`
	Warnings      []string             `json:"warnings"`
	Losses        []source.LossContent `json:"losses"`

	Verifications []source.VerifiedContent `json:"verifications"`

	Metadata []source.MetadataContent `json:"metadata"`
	Replicas []replicaStatus          `json:"replicas"`
}

type pointStatus struct {
	ID   uint64    `json:"id"`
	Time time.Time `json:"time"`
}

type writerStatus struct {
	Program   string `json:"program"`
	Host      string `json:"host"`
	Principal string `json:"principal"`
}

type topicStatus struct {
	Topic       string `json:"topic"`
	Incarnation int    `json:"incarnation"`
	Gone        bool   `json:"gone"`
	Partitions  int32  `json:"partitions"`
	Records     int64  `json:"records"`
}

func statusCommand(g *cli.Globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show what the repository holds, from the repository alone",
		Example: "  backupd status --repo s3://my-backups/prod -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !g.RepoGiven() { // with --repo, a replica may be looked at as a repository
				if err := checkItself(g); err != nil {
					return err
				}
			}
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			state, err := repo.State(cmd.Context(), 0)
			if err != nil {
				return err
			}
			now := time.Now()
			s := describe(repo, state)
			s.Warnings = append(s.Warnings, overdue(state.Points, now)...)
			if s.Losses, err = source.LossContents(cmd.Context(), repo, state); err != nil {
				return err
			}
			s.Replicas = lookAtReplicas(cmd.Context(), g, repo, state)
			if g.Output == "json" {
				return cli.WriteJSON(cli.Out(cmd), s)
			}
			return s.print(tabwriter.NewWriter(cli.Out(cmd), 0, 4, 2, ' ', 0), now)
		},
	}
	g.OutputFlag(cmd)
	return cmd
}

func describe(repo *manifest.Repository, state *manifest.State) *status {
	s := &status{
		SchemaVersion: 1, Repository: repo.ID.String(), Cluster: repo.ClusterID, Created: repo.Created, Entries: state.Sequence,
		Points: len(state.Points), Segments: state.SegmentCount, StoredBytes: state.SegmentBytes, Groups: len(state.Groups), Topics: []topicStatus{}, Warnings: []string{},
	}
	if state.Sequence > 0 {
		t := time.UnixMilli(state.Time).UTC()
		s.LastCommit = &t
	}
	if n := len(state.Points); n > 0 {
		s.LastPoint = &pointStatus{state.Points[n-1].Sequence, time.UnixMilli(state.Points[n-1].Time).UTC()}
	}
	if a := state.Agent; a != nil {
		s.Writer = &writerStatus{a.Program, a.Host, a.Principal}
	}
	if s.GroupOffsets = "polled"; source.FollowsGroups(state) {
		s.GroupOffsets = "log"
	}
	s.Verifications = source.VerifiedContents(state)
	for _, v := range s.Verifications {
		if v.Known > 0 {
			s.Warnings = append(s.Warnings, fmt.Sprintf("a verification of level %s found %s, the first: %s, and none has read everything since and found it sound: see restored verify", v.Level, english.Plural(int(v.Known), "damaged object", ""), manifest.Quoted(v.KnownFound)))
		}
	}
	s.Metadata = source.MetadataOf(state)
	records := make(map[int]int64)
	for i := range state.Streams {
		records[state.Streams[i].Topic] += state.Streams[i].Records
	}
	snap := source.Snapshot{State: state}
	for _, i := range snap.Incarnations() {
		s.Topics = append(s.Topics, topicStatus{i.Name, i.Nth, i.Gone, i.Partitions, records[i.Number]})
	}
	return s
}

// What is usual is the median distance of the last points, but at least the
// minute in which a daemon makes one while nothing changes.
const (
	usualOf   = 10 // distances
	leastTime = time.Minute
	lateAfter = 3 // times what is usual
)

// overdue warns of a last recovery point that is much older than the points
// before it lie apart. With fewer than two it cannot be told.
func overdue(points []manifest.PointRef, now time.Time) []string {
	var apart []time.Duration
	for i := max(1, len(points)-usualOf); i < len(points); i++ {
		apart = append(apart, time.Duration(points[i].Time-points[i-1].Time)*time.Millisecond)
	}
	if len(apart) == 0 {
		return nil
	}
	slices.Sort(apart)
	usual := max(apart[len(apart)/2], leastTime)
	age := now.Sub(time.UnixMilli(points[len(points)-1].Time))
	if age < lateAfter*usual {
		return nil
	}
	return []string{fmt.Sprintf("the last recovery point is %s old, usual is one every %s: does backupd run, and what does its log say?",
		age.Round(time.Second), usual.Round(time.Second))}
}

func (s *status) print(w *tabwriter.Writer, now time.Time) error {
	fmt.Fprintf(w, "repository\t%s\nKafka cluster\t%s\n", s.Repository, s.Cluster)
	if s.LastPoint == nil {
		fmt.Fprintf(w, "recovery point\tnone yet\n")
	} else {
		fmt.Fprintf(w, "recovery point\t%d of %s (%s)\n", s.LastPoint.ID, s.LastPoint.Time.Format(time.RFC3339), humanize.RelTime(s.LastPoint.Time, now, "ago", "from now"))
	}
	fmt.Fprintf(w, "points, entries\t%d, %d\nsegments\t%d, %s\ngroups\t%d, offsets %s\n", s.Points, s.Entries, s.Segments, humanize.IBytes(uint64(s.StoredBytes)), s.Groups, map[string]string{"log": "known from the log of them", "polled": "polled"}[s.GroupOffsets])
	if s.Writer != nil {
		fmt.Fprintf(w, "last writer\t%s on %s\n", s.Writer.Program, s.Writer.Host)
	}
	for i := range s.Verifications {
		fmt.Fprintf(w, "verified\t%s\n", s.Verifications[i].Text(now))
	}
	for _, m := range s.Metadata {
		if !m.Captured {
			fmt.Fprintf(w, "not captured\t%s (needs %s)\n", m.Kind, m.Needs)
		}
	}
	for i := range s.Replicas {
		fmt.Fprintf(w, "replica\t%s\n", &s.Replicas[i])
	}
	for i := range s.Losses {
		fmt.Fprintf(w, "LOST\t%s\n", &s.Losses[i])
	}
	for _, warning := range s.Warnings {
		fmt.Fprintf(w, "WARNING\t%s\n", warning)
	}
	fmt.Fprintf(w, "\nTOPIC\tINCARNATION\tPARTITIONS\tRECORDS\tSTATE\n")
	for _, t := range s.Topics {
		state := "captured"
		if t.Gone {
			state = "gone"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\n", t.Topic, t.Incarnation, t.Partitions, t.Records, state)
	}
	return w.Flush()
}
