package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/replica"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/spf13/cobra"
)

func repairCommand(g *cli.Globals) *cobra.Command {
	dry, from := false, ""
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Mend damaged segments with what a copy or the cluster still has",
		Long: "Verify every digest of the repository, and bring back what is damaged or missing: from a copy, if one is given, entries of the log, too, or from the cluster, where that has\n" +
			"the same records still. Both are only read from. What cannot be had again is quarantined: the log says from then on that it is lost.",
		Example: "  backupd repair -c backupd.yaml --dry-run\n" +
			"  backupd repair -c backupd.yaml --from gs://elsewhere/prod",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			res, err := repair(cmd.Context(), g, dry, from)
			if err != nil {
				return err
			}
			if g.Output == "json" {
				err = cli.WriteJSON(cli.Out(cmd), repairAsJSON(res, dry))
			} else {
				printRepair(cli.Out(cmd), res, dry)
			}
			if err != nil {
				return err
			}
			return errors.Join(outcomeOf(res), partedFrom(cmd.Context(), g, from))
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what could be mended")
	cmd.Flags().StringVar(&from, "from", "", "take what is damaged from the copy at this `URL`, which backupd copy has made")
	g.OutputFlag(cmd)
	return cmd
}

// outcomeOf is an error if something is damaged or lost.
func outcomeOf(res *source.Repair) error {
	lost, damaged := len(res.Report.Losses), 0
	for i := range res.Damages {
		switch m := &res.Damages[i]; {
		case m.Quarantined:
			lost++
		case m.Why != "":
			damaged++
		}
	}
	switch {
	case damaged > 0:
		return fmt.Errorf("%w: %s that cannot be mended", manifest.ErrDamaged, english.Plural(damaged, "object", ""))
	case lost > 0:
		return fmt.Errorf("%w: what is quarantined is listed above; a later repair looks for it again", source.ErrLost)
	}
	return nil
}

// repairPatience is how long the cluster is asked again.
const repairPatience = time.Minute

func repair(ctx context.Context, g *cli.Globals, dry bool, from string) (*source.Repair, error) {
	cli.LimitMemory(memoryLimit)
	first, err := mendDescriptor(ctx, g, dry, from)
	if err != nil || len(first) > 0 && dry {
		return &source.Repair{Damages: first, Report: &source.Report{}}, err
	}
	repo, err := g.Repository(ctx)
	if err != nil {
		return nil, err
	}
	replica, err := openReplica(ctx, g, repo, from)
	if err != nil {
		return nil, err
	}
	ends, err := mendPinnedEnd(ctx, g, repo, replica, dry)
	if err != nil || len(ends) > 0 && dry {
		return &source.Repair{Damages: ends, Report: &source.Report{}}, err
	}
	if !dry {
		if err := repo.Writable(ctx); err != nil {
			return nil, err
		}
	}
	cluster, err := clusterOf(ctx, g, repo)
	switch {
	case err == nil:
		defer cluster.Close()
	case replica == nil || ctx.Err() != nil:
		return nil, err
	default: // a copy is there for when the cluster is gone
		g.Log.Warn("the cluster is not asked: what the copy does not have stays as it is", "reason", err)
	}
	keeping, err := g.Keeping()
	if err != nil {
		return nil, err
	}
	logNeeds, err := g.LogNeeds()
	if err != nil {
		return nil, err
	}
	progress := g.NewProgress("verifying", "bytes", 0)
	defer progress.End()
	r := source.Repairer{
		Repository: repo, Cluster: cluster, Replica: replica, DryRun: dry, Agent: g.Agent("backupd", "repair"), Log: g.Log, Patience: repairPatience, Progress: progress.Set, Keeping: keeping, LogNeeds: logNeeds,
	}
	res, err := r.Run(ctx)
	if err == nil {
		res.Damages = slices.Concat(first, ends, res.Damages)
	}
	if err != nil || dry || len(res.Damages) == 0 {
		return res, err
	}
	return res, recordRepair(ctx, g, repo, res)
}

// clusterOf connects to the cluster of the repository.
func clusterOf(ctx context.Context, g *cli.Globals, repo *manifest.Repository) (*kafka.Cluster, error) {
	cluster, err := g.Connect(ctx, "backupd")
	if err != nil {
		return nil, err
	}
	if id := cluster.ID(); id != repo.ClusterID {
		cluster.Close()
		return nil, fmt.Errorf("%w: it was made for cluster %s, this one is %s", manifest.ErrOtherCluster, repo.ClusterID, id)
	}
	return cluster, nil
}

// copyAt opens the store of the copy that is given, which is not the repository itself: that
// would have nothing that is lost, and what is lost would be given up.
func copyAt(ctx context.Context, g *cli.Globals, from string) (store.Store, error) {
	if dir, err := os.Getwd(); err == nil {
		from = config.ResolveURL(from, dir)
	}
	if g.IsRepository(from) {
		return nil, cli.Usagef("%s is the repository, or lies in it or around it: give another place", from)
	}
	return g.StoreAt(ctx, from)
}

// mendDescriptor puts back what makes a place a repository, from the copy. Without that
// nothing else can be looked at. It says what was, or is, to be done.
func mendDescriptor(ctx context.Context, g *cli.Globals, dry bool, from string) ([]source.Mended, error) {
	if from == "" {
		return nil, nil
	}
	st, err := g.Store(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := manifest.Open(ctx, st); !errors.Is(err, manifest.ErrDamaged) {
		return nil, nil // who opens it says what else there is to say
	}
	second, err := copyAt(ctx, g, from)
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	mended, err := manifest.MendDescriptor(ctx, st, second, dry)
	switch {
	case err != nil:
		return nil, fmt.Errorf("put back %s from %s: %w", manifest.RepositoryKey, from, err)
	case !mended:
		return nil, nil
	case dry:
		g.Log.Warn("nothing else can be looked at before it is put back", "object", manifest.RepositoryKey)
	default:
		g.Log.Info("put back from the copy", "object", manifest.RepositoryKey)
	}
	return []source.Mended{{Key: manifest.RepositoryKey}}, nil
}

// mendPinnedEnd puts back the end of the log, if it was lost together with the entry that
// signing.head pins, and the copy has that: without it the log is refused as rolled back. It
// says which entries these are.
func mendPinnedEnd(ctx context.Context, g *cli.Globals, repo, replica *manifest.Repository, dry bool) ([]source.Mended, error) {
	_, pinned := g.Config.Signing.Trusted()
	if pinned == nil || replica == nil {
		return nil, nil
	}
	if _, err := repo.State(ctx, 0); !errors.Is(err, manifest.ErrUntrusted) {
		return nil, nil // who reads it says what else there is to say
	}
	loose, err := g.Repository(ctx)
	if err != nil {
		return nil, err
	}
	loose.Trust(nil, nil) // what the copy, which is trusted, continues is to be trusted, too
	if !dry {
		if err := loose.Writable(ctx); err != nil {
			return nil, err
		}
	}
	r := source.Repairer{Repository: loose, Replica: replica, DryRun: dry}
	ends, err := r.BringEndBack(ctx, pinned.Sequence)
	if err != nil {
		return nil, fmt.Errorf("put back the end of the log: %w", err)
	}
	if len(ends) > 0 && dry {
		g.Log.Warn("nothing else can be looked at before the end of the log is put back", "entries", len(ends))
	} else if len(ends) > 0 {
		g.Log.Info("the end of the log is put back from the copy", "entries", len(ends))
	}
	return ends, nil
}

// openReplica opens the copy that is given.
func openReplica(ctx context.Context, g *cli.Globals, repo *manifest.Repository, from string) (*manifest.Repository, error) {
	if from == "" {
		return nil, nil
	}
	st, err := copyAt(ctx, g, from)
	if err == nil {
		_, err = manifest.Open(ctx, st)
	}
	if errors.Is(err, manifest.ErrNoRepository) {
		return nil, fmt.Errorf("--from: %w at %s: give the URL of a copy, which backupd copy or replicas keep", err, from)
	}
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	replica, err := repo.Clone(ctx, st) // which is there: it is only opened
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	return replica, nil
}

// repairNote is the note of a repair, for an audit.
type repairNote struct {
	Mended      []string `json:"mended"` // objects
	Moved       []string `json:"moved"`  // objects of which something is in a new segment now
	Quarantined []string `json:"quarantined"`
	Damaged     []string `json:"damaged"` // still
}

// maxNoted bounds how many objects of a kind a note names.
const maxNoted = 1000

func noteOf(res *source.Repair) (*manifest.Note, error) {
	n := repairNote{[]string{}, []string{}, []string{}, []string{}}
	add := func(list *[]string, key string) {
		if len(*list) < maxNoted {
			*list = append(*list, key)
		}
	}
	for i := range res.Damages {
		m := &res.Damages[i]
		if len(m.Moved) > 0 {
			add(&n.Moved, m.Key)
		}
		switch {
		case m.Quarantined:
			add(&n.Quarantined, m.Key)
		case m.Why != "":
			add(&n.Damaged, m.Key)
		case len(m.Moved) == 0:
			add(&n.Mended, m.Key)
		}
	}
	return manifest.NewNote("repair", n)
}

// partedFrom says if the logs of the repository and of the copy that is given have parted, so
// that the copy is none any more, even if nothing is damaged. That of an archive has an end of
// its own.
func partedFrom(ctx context.Context, g *cli.Globals, from string) error {
	if from == "" {
		return nil
	}
	repo, err := g.Repository(ctx)
	if errors.Is(err, manifest.ErrDamaged) {
		return nil // of a dry run, which has said so
	}
	if err != nil {
		return err
	}
	there, err := openReplica(ctx, g, repo, from)
	if err != nil {
		return err
	}
	err = replica.Parted(ctx, repo, there)
	if errors.Is(err, manifest.ErrDiverged) {
		if state, err := there.State(ctx, 0); err == nil && state.IsArchive() {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("compare with the copy %s: %w", from, err)
	}
	return nil
}

// recordRepair tells the log what was done, and what a verification would find now.
func recordRepair(ctx context.Context, g *cli.Globals, repo *manifest.Repository, res *source.Repair) error {
	outcome := res.Report.Outcome()
	if outcome == nil || res.Report.Damages != nil && res.Report.Damages[0].Entries > 0 {
		return nil
	}
	log, err := repo.OpenLog(ctx, time.Now)
	if err == nil {
		log.Note, err = noteOf(res)
	}
	if err == nil {
		_, err = log.Record(ctx, *outcome, g.Agent("backupd", "repair"))
	}
	if err != nil {
		return fmt.Errorf("record the repair: %w", err)
	}
	return nil
}

// repairJSON is the JSON of backupd repair.
type repairJSON struct {
	SchemaVersion int          `json:"schemaVersion"`
	DryRun        bool         `json:"dryRun"`
	OK            bool         `json:"ok"`
	Damages       []mendedJSON `json:"damages"`
	Restorable    []lacksJSON  `json:"restorable"`
}

type mendedJSON struct {
	Object      string   `json:"object"`
	Mended      []string `json:"mended"`
	Moved       []string `json:"moved"`
	Lost        []string `json:"lost"`
	Quarantined bool     `json:"quarantined"`
	Reason      string   `json:"reason"`
}

type lacksJSON struct {
	First  uint64   `json:"firstPoint"`
	Last   uint64   `json:"lastPoint"`
	Points int      `json:"points"`
	Topics []string `json:"incompleteTopics"`
}

func repairAsJSON(res *source.Repair, dry bool) repairJSON {
	j := repairJSON{SchemaVersion: 1, DryRun: dry, OK: outcomeOf(res) == nil, Damages: []mendedJSON{}, Restorable: []lacksJSON{}}
	for i := range res.Damages {
		m := &res.Damages[i]
		j.Damages = append(j.Damages, mendedJSON{m.Key, inWords(m.Done), inWords(m.Moved), inWords(m.Left), m.Quarantined, m.Why})
	}
	for _, run := range res.Report.Restorable {
		j.Restorable = append(j.Restorable, lacksJSON{run.First.Sequence, run.Last.Sequence, run.Count, append([]string{}, run.Topics...)})
	}
	return j
}

func inWords(list []source.LostRange) []string {
	words := make([]string, len(list))
	for i, l := range list {
		words[i] = l.String()
	}
	return words
}

func printRepair(out io.Writer, res *source.Repair, dry bool) {
	if len(res.Damages) == 0 {
		fmt.Fprintln(out, "nothing is damaged")
	}
	mended, moved, lost := "mended", "moved to a new segment", "quarantined, since it is LOST"
	if dry {
		mended, moved, lost = "can be mended", "can be moved to a new segment", "to be quarantined, since it is LOST"
	}
	for i := range res.Damages {
		m := &res.Damages[i]
		if m.Why == "" && len(m.Moved) == 0 || len(m.Done) > 0 {
			fmt.Fprintln(out, strings.TrimSpace(fmt.Sprintf("%s: %s %s", m.Key, mended, strings.Join(inWords(m.Done), ", "))))
		}
		if len(m.Moved) > 0 {
			fmt.Fprintf(out, "%s: %s %s\n", m.Key, moved, strings.Join(inWords(m.Moved), ", "))
		}
		switch {
		case m.Quarantined:
			fmt.Fprintf(out, "%s: %s: %s\n  %s\n", m.Key, lost, strings.Join(inWords(m.Left), ", "), m.Why)
		case m.Why != "":
			what := "DAMAGED"
			if len(m.Left) > 0 { // of an entry of the log nobody knows what was in it
				what += ": " + strings.Join(inWords(m.Left), ", ")
			}
			fmt.Fprintf(out, "%s: %s\n  %s\n", m.Key, what, m.Why)
		}
	}
	if len(res.Report.Damages)+len(res.Report.Losses) == 0 {
		return
	}
	for _, run := range res.Report.Restorable {
		text := "everything"
		if len(run.Topics) > 0 {
			text = "all but " + strings.Join(run.Topics, ", ")
		}
		fmt.Fprintf(out, "recovery points %d to %d (%d): %s can be restored\n", run.First.Sequence, run.Last.Sequence, run.Count, text)
	}
}
