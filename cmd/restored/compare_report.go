package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/source"
)

// compareReport is the outcome of a comparison, and of what.
type compareReport struct {
	*source.Comparison
	snapshot *source.Snapshot // nil if the reference is a cluster
	logUntil uint64           // the entry that the repository was read until, or 0
	against  string           // that cluster's id
	cluster  string
}

func (r *compareReport) reference() string {
	if r.snapshot == nil {
		return "cluster " + r.against
	}
	return fmt.Sprintf("recovery point %d", r.snapshot.Point.Sequence)
}

// compareJSON is the JSON of a comparison.
type compareJSON struct {
	SchemaVersion int                          `json:"schemaVersion"`
	Reference     referenceJSON                `json:"reference"`
	Cluster       string                       `json:"kafkaCluster"`
	Equal         bool                         `json:"equal"`
	Partitions    []source.PartitionComparison `json:"partitions"`
	Groups        []source.GroupMismatch       `json:"groups"`
	Differences   []compareDifferenceJSON      `json:"differences"`
	Uncompared    []source.Uncompared          `json:"notCompared"`
	Notes         []string                     `json:"notes"`
}

// referenceJSON is what the cluster is held against: a point or a cluster.
type referenceJSON struct {
	Point     *uint64    `json:"point,omitempty"`
	PointTime *time.Time `json:"pointTime,omitempty"`
	LogUntil  uint64     `json:"logUntil,omitempty"`
	Cluster   string     `json:"kafkaCluster,omitempty"`
}

type compareDifferenceJSON struct {
	Kind      string  `json:"kind"`
	Object    string  `json:"object"`
	Setting   string  `json:"setting,omitempty"`
	Reference *string `json:"reference"`
	Cluster   *string `json:"cluster"`
	Todo      string  `json:"todo,omitempty"`
}

func (r *compareReport) asJSON() compareJSON {
	j := compareJSON{
		SchemaVersion: 1, Reference: referenceJSON{Cluster: r.against}, Cluster: r.cluster, Equal: r.Equal(),
		Partitions: append([]source.PartitionComparison{}, r.Partitions...), Groups: append([]source.GroupMismatch{}, r.Groups...),
		Differences: []compareDifferenceJSON{}, Uncompared: append([]source.Uncompared{}, r.Uncompared...), Notes: append([]string{}, r.Notes...),
	}
	if r.snapshot != nil {
		at := time.UnixMilli(r.snapshot.Point.Time).UTC()
		j.Reference.Point, j.Reference.PointTime, j.Reference.LogUntil = &r.snapshot.Point.Sequence, &at, r.logUntil
	}
	for _, d := range r.Differences {
		j.Differences = append(j.Differences, compareDifferenceJSON{d.Kind, d.Object, d.Setting, d.Backup, d.Cluster, d.Todo})
	}
	return j
}

func (r *compareReport) print(out io.Writer, g *cli.Globals) error {
	if g.Output == "json" {
		return cli.WriteJSON(out, r.asJSON())
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	if r.snapshot == nil {
		fmt.Fprintf(w, "Cluster %s and cluster %s\n", r.against, r.cluster)
	} else {
		fmt.Fprintf(w, "Recovery point %d of %s and cluster %s\n", r.snapshot.Point.Sequence, source.Clock(r.snapshot.Point.Time), r.cluster)
		if n := r.logUntil; n > 0 {
			fmt.Fprintln(w, readUntil(n))
		}
	}
	r.printTopics(w)
	r.printMismatches(w)
	r.printGroups(w)
	if len(r.Differences) > 0 {
		fmt.Fprintln(w, "\nKIND\tOBJECT\tSETTING\tREFERENCE\tCLUSTER\tTO DO")
		for _, d := range r.Differences {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", d.Kind, cli.Printable(d.Object), cli.Printable(d.Setting), printableOr(d.Backup), printableOr(d.Cluster), cli.Printable(d.Todo))
		}
	}
	for _, u := range r.Uncompared {
		fmt.Fprintf(w, "\nnot compared: %s: %s\n", u.Kind, u.Reason)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "\nnote: %s\n", cli.Printable(n))
	}
	if r.Equal() {
		fmt.Fprintln(w, "\nno difference")
	}
	return w.Flush()
}

// printTopics sums up the records of each topic.
func (r *compareReport) printTopics(w io.Writer) {
	if len(r.Partitions) > 0 {
		fmt.Fprintln(w, "\nTOPIC\tTARGET\tPARTITIONS\tRECORDS\tON THE CLUSTER\tSTATE")
	}
	for from := 0; from < len(r.Partitions); {
		t := r.Partitions[from]
		t.ReferenceRecords, t.ClusterRecords = 0, 0
		to, differ := from, 0
		for ; to < len(r.Partitions) && r.Partitions[to].Target == t.Target; to++ {
			p := &r.Partitions[to]
			t.ReferenceRecords, t.ClusterRecords = t.ReferenceRecords+p.ReferenceRecords, t.ClusterRecords+p.ClusterRecords
			if !p.Equal {
				differ++
			}
		}
		state := "equal"
		if differ > 0 {
			state = english.Plural(differ, "partition differs", "partitions differ")
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\n", t.Topic, t.Target, to-from, t.ReferenceRecords, t.ClusterRecords, state)
		from = to
	}
}

// printMismatches names the first difference of each partition.
func (r *compareReport) printMismatches(w io.Writer) {
	head := "\nPARTITION\tEQUAL BEFORE\tOFFSET\tON THE CLUSTER\tFIRST DIFFERENCE"
	for _, p := range r.Partitions {
		if p.Equal {
			continue
		}
		if head != "" {
			fmt.Fprintln(w, head)
			head = ""
		}
		fmt.Fprintf(w, "%s-%d\t%d\t%s\t%s\t%s\n", p.Topic, p.Partition, p.Mismatch.Equal, offsetOr(p.Mismatch.Reference, "the end"), offsetOr(p.Mismatch.Cluster, "the end"), inWords(p.Mismatch))
	}
}

// inWords says what differs.
func inWords(m *source.Mismatch) string {
	switch m.What {
	case source.MismatchMissing:
		return "a record is missing on the cluster"
	case source.MismatchAdditional:
		return "the cluster has an additional record"
	case source.MismatchChanged:
		return "the record differs in its " + strings.Join(m.Fields, ", ")
	case source.MismatchOrder:
		return "the records are in another order"
	}
	return "it was gone when it was looked for: somebody changes the partition"
}

func (r *compareReport) printGroups(w io.Writer) {
	if len(r.Groups) > 0 {
		fmt.Fprintln(w, "\nGROUP\tPARTITION\tCOMMITTED\tON THE CLUSTER\tDIFFERENCE")
	}
	for _, m := range r.Groups {
		fmt.Fprintf(w, "%s\t%s-%d\t%s\t%s\t%s\n", cli.Printable(m.Group), m.Topic, m.Partition, offsetOr(m.Reference, "-"), offsetOr(m.Cluster, "-"), groupInWords(m))
	}
}

func groupInWords(m source.GroupMismatch) string {
	switch {
	case m.What == source.CommitMissing:
		return "it has no offset on the cluster"
	case m.What == source.CommitAdditional:
		return "it has an offset on the cluster only"
	case m.What == source.CommitMetadata:
		return "the metadata of the commit differ"
	case m.Ahead > 0:
		return english.Plural(int(m.Ahead), "record", "") + " ahead on the cluster"
	}
	return english.Plural(int(-m.Ahead), "record", "") + " behind on the cluster"
}

func offsetOr(offset *int64, none string) string {
	if offset == nil {
		return none
	}
	return fmt.Sprint(*offset)
}
