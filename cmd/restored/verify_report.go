package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
)

// reportJSON is the JSON of a verification.
type reportJSON struct {
	SchemaVersion int                  `json:"schemaVersion"`
	OK            bool                 `json:"ok"`
	Level         string               `json:"level"`
	Sample        float64              `json:"samplePercent"`
	Seed          uint64               `json:"seed"`
	First         uint64               `json:"firstEntry"`
	Whole         string               `json:"wholeBecause,omitempty"`
	LogFirst      uint64               `json:"logFirstEntry,omitempty"`
	Entries       uint64               `json:"entries"`
	LogUntil      uint64               `json:"logUntil,omitempty"`
	Points        int                  `json:"points"`
	Archive       bool                 `json:"archive,omitempty"`
	Segments      int64                `json:"segments"`
	There         int64                `json:"segmentsThere,omitempty"`
	Bytes         int64                `json:"storedBytes"`
	Read          int64                `json:"readBytes"`
	Blocks        int64                `json:"blocks"`
	Batches       int64                `json:"batches"`
	Records       int64                `json:"records"`
	Compared      int64                `json:"movedRangesCompared,omitempty"`
	Uncompared    int64                `json:"movedRangesNotCompared,omitempty"`
	Gaps          []gapJSON            `json:"gaps"`
	Damages       []damageJSON         `json:"damages"`
	Losses        []source.LossContent `json:"knownLosses"`
	Orphans       []orphanJSON         `json:"orphans"`
	Restorable    []pointRunJSON       `json:"restorable"`
	Replay        *replayJSON          `json:"replay,omitempty"`
}

// replayJSON is the JSON of a restore that was tried.
type replayJSON struct {
	Point      uint64                       `json:"point"`
	Cluster    string                       `json:"kafkaCluster"`
	Topics     []string                     `json:"topics"`
	Records    int64                        `json:"records"`
	Equal      bool                         `json:"equal"`
	Partitions []source.PartitionComparison `json:"differingPartitions"`
	Groups     []source.GroupMismatch       `json:"groups"`
}

func replayAsJSON(r *source.Rehearsed) *replayJSON {
	if r == nil {
		return nil
	}
	j := &replayJSON{
		Point: r.Point.Sequence, Cluster: r.Cluster, Topics: append([]string{}, r.Topics...), Records: r.Records, Equal: r.Comparison.Differing() == 0,
		Partitions: []source.PartitionComparison{}, Groups: append([]source.GroupMismatch{}, r.Comparison.Groups...),
	}
	for _, p := range r.Comparison.Partitions {
		if !p.Equal {
			j.Partitions = append(j.Partitions, p)
		}
	}
	return j
}

type gapJSON struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
	Reason    string `json:"reason"`
}

type damageJSON struct {
	Object   string     `json:"object"`
	Position int64      `json:"position"`
	Reason   string     `json:"reason"`
	Lost     []lostJSON `json:"lost"`
	// Entries: nothing of the log can be read from this one on.
	Entries *uint64 `json:"unreadableFromEntry,omitempty"`
}

type lostJSON struct {
	Topic     string `json:"topic"`
	TopicID   string `json:"topicId"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
}

type orphanJSON struct {
	Object string `json:"object"`
	Bytes  int64  `json:"bytes"`
	Newer  bool   `json:"newerThanLog"`
}

type pointRunJSON struct {
	First  uint64   `json:"firstPoint"`
	Last   uint64   `json:"lastPoint"`
	Points int      `json:"points"`
	Whole  bool     `json:"complete"`
	Topics []string `json:"incompleteTopics"`
}

func reportAsJSON(r *source.Report) reportJSON {
	j := reportJSON{
		SchemaVersion: 1, OK: len(r.Damages)+len(r.Losses)+r.Differing() == 0, Level: r.Level.String(), Sample: percent(r), Seed: r.Seed, First: r.First, Whole: r.Whole,
		Entries: r.Entries, LogUntil: r.LogUntil, Points: r.Points, Archive: r.Archive, Segments: r.Segments, There: r.There, Bytes: r.Bytes, Read: r.Read, Blocks: r.Blocks, Batches: r.Batches, Records: r.Records, Compared: r.Compared, Uncompared: r.Uncompared,
		Gaps: []gapJSON{}, Damages: []damageJSON{}, Losses: []source.LossContent{}, Orphans: []orphanJSON{}, Restorable: []pointRunJSON{}, Replay: replayAsJSON(r.Rehearsed),
	}
	if r.LogFirst > 1 {
		j.LogFirst = r.LogFirst
	}
	for _, gap := range r.Gaps {
		j.Gaps = append(j.Gaps, gapJSON{gap.Topic, gap.Partition, gap.From, gap.To, gap.Reason})
	}
	for i := range r.Damages {
		j.Damages = append(j.Damages, damageAsJSON(&r.Damages[i]))
	}
	for i := range r.Losses {
		j.Losses = append(j.Losses, r.Losses[i].Content())
	}
	for _, o := range r.Orphans {
		j.Orphans = append(j.Orphans, orphanJSON{o.Key, o.Bytes, o.Newer})
	}
	for _, run := range r.Restorable {
		j.Restorable = append(j.Restorable, pointRunJSON{run.First.Sequence, run.Last.Sequence, run.Count, len(run.Topics) == 0, append([]string{}, run.Topics...)})
	}
	return j
}

func plural(n int64, noun string) string { return english.Plural(int(n), noun, "") }

func percent(r *source.Report) float64 { return float64(r.Share) / (manifest.WholeShare / 100) }

func damageAsJSON(d *source.DamageNote) damageJSON {
	j := damageJSON{Object: d.Key, Position: d.Position, Reason: d.Reason, Lost: []lostJSON{}}
	for _, l := range d.Lost {
		j.Lost = append(j.Lost, lostJSON{l.Topic, kafka.TopicID(l.Key.TopicID).String(), l.Key.Partition, l.From, l.To})
	}
	if d.Entries > 0 {
		j.Entries = &d.Entries
	}
	return j
}

func printReportText(out io.Writer, r *source.Report) {
	what := ""
	if r.Share < manifest.WholeShare {
		what = fmt.Sprintf(", a sample of %g %% of the segments (--seed %d)", percent(r), r.Seed)
	}
	if r.First > 1 {
		what += fmt.Sprintf(", from entry %d on", r.First)
	}
	fmt.Fprintf(out, "level %s%s: %s, %s, %s (%s), %s", r.Level, what, english.Plural(int(r.Entries), "log entry", "log entries"), plural(int64(r.Points), "recovery point"), segmentsOf(r), humanize.IBytes(uint64(r.Bytes)), plural(r.Blocks, "block"))
	if r.Level >= manifest.LevelDecode {
		fmt.Fprintf(out, ", %s, %s", english.Plural(int(r.Batches), "batch", "batches"), plural(r.Records, "record"))
	}
	fmt.Fprintln(out, " checked")
	if r.Whole != "" {
		fmt.Fprintf(out, "not only what came since the last verification: %s\n", r.Whole)
	}
	if r.LogFirst > 1 {
		fmt.Fprintf(out, "the log was read from entry %d on: what comes before was verified earlier, and is all there\n", r.LogFirst)
	}
	if r.Compared+r.Uncompared > 0 {
		fmt.Fprintf(out, "moved: %s compared with the originals that are still there, %d could not be (encrypted, or the original is damaged)\n", plural(r.Compared, "range"), r.Uncompared)
	}
	if r.Archive {
		fmt.Fprintln(out, "an archive: these recovery points were chosen (backupd copy --points), and nothing is captured into it")
	}
	if r.LogUntil > 0 {
		fmt.Fprintln(out, readUntil(r.LogUntil))
	}
	for _, gap := range r.Gaps {
		fmt.Fprintf(out, "gap: %s-%d [%d,%d): %s\n", gap.Topic, gap.Partition, gap.From, gap.To, gap.Reason)
	}
	printOrphans(out, r.Orphans)
	for i := range r.Losses {
		fmt.Fprintf(out, "LOST: %s\n", &r.Losses[i])
	}
	for i := range r.Damages {
		printDamage(out, &r.Damages[i])
	}
	if done := r.Rehearsed; done != nil {
		fmt.Fprintf(out, "replay: recovery point %d restored into cluster %s: %d topics, %d records, %d differences\n", done.Point.Sequence, done.Cluster, len(done.Topics), done.Records, r.Differing())
		for _, p := range done.Comparison.Partitions {
			if !p.Equal {
				fmt.Fprintf(out, "DIFFERENT: %s-%d: %d records in the backup, %d restored\n", p.Topic, p.Partition, p.ReferenceRecords, p.ClusterRecords)
			}
		}
	}
	if len(r.Damages)+len(r.Losses) > 0 {
		for _, text := range runsInWords(r.Restorable) {
			fmt.Fprintln(out, text)
		}
	}
}

// segmentsOf says how many segments were looked at, and of how many if not at all.
func segmentsOf(r *source.Report) string {
	if r.Segments >= r.There {
		return plural(r.Segments, "segment")
	}
	return fmt.Sprintf("%d of %s", r.Segments, plural(r.There, "segment"))
}

func printDamage(out io.Writer, d *source.DamageNote) {
	fmt.Fprintf(out, "DAMAGED: %s: %s\n", d.Key, d.Reason)
	if d.Entries > 0 {
		fmt.Fprintf(out, "  lost: everything from log entry %d on\n", d.Entries)
		return
	}
	var lost []string
	for _, l := range d.Lost {
		lost = append(lost, l.String())
	}
	fmt.Fprintf(out, "  lost: %s\n", cmp.Or(strings.Join(lost, ", "), "nothing"))
}

// runsInWords says what can still be restored.
func runsInWords(runs []source.PointRun) []string {
	if len(runs) == 0 {
		return []string{"no recovery point can be restored"}
	}
	var list []string
	for _, run := range runs {
		text := fmt.Sprintf("recovery point %d can be restored", run.First.Sequence)
		if run.Count > 1 {
			text = fmt.Sprintf("the %d recovery points from %d to %d can be restored", run.Count, run.First.Sequence, run.Last.Sequence)
		}
		if len(run.Topics) > 0 {
			text += " but for " + strings.Join(run.Topics, ", ")
		}
		list = append(list, text)
	}
	return list
}

// printOrphans says what the segments may mean that no log entry names.
func printOrphans(out io.Writer, orphans []source.Orphan) {
	if len(orphans) == 0 {
		return
	}
	var bytes uint64
	newer := 0
	for _, o := range orphans {
		bytes += uint64(o.Bytes)
		if o.Newer {
			newer++
		}
	}
	fmt.Fprintf(out, "orphans: %s (%s) that no log entry names, as a backupd leaves them that is killed or was not the first; -o json names them\n", plural(int64(len(orphans)), "segment"), humanize.IBytes(bytes))
	if newer > 0 {
		fmt.Fprintf(out, "  %d of them newer than the last log entry: unless a backupd is running, or was killed then, entries may have been removed from the end of the log\n", newer)
	}
}
