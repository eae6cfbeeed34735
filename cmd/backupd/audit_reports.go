package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// auditedReport is the JSON of a report of a restore.
type auditedReport struct {
	Object string          `json:"object"`
	State  string          `json:"state"` // ok, not pinned, altered or missing
	Entry  uint64          `json:"entry,omitempty"`
	Report json.RawMessage `json:"report,omitempty"`
}

// What can be of a report.
const (
	reportOK        = "ok"
	reportNotPinned = "not pinned" // by the log yet
	reportAltered   = "altered"
	reportMissing   = "missing"
)

// pin is the digest of a report in the log.
type pin struct {
	sha256 string
	entry  uint64
	time   int64
}

// notePins keeps the first pin of each report.
func notePins(pins map[string]pin, x *manifest.Action) {
	if x.Kind != manifest.NoteReports {
		return
	}
	for _, r := range x.Note.PinnedBy() {
		if _, twice := pins[r.Key]; !twice {
			pins[r.Key] = pin{r.SHA256, x.Head.Sequence, x.Time}
		}
	}
}

// auditReports holds the reports that are there against their pins. Those that were
// pinned before since are left out.
func auditReports(ctx context.Context, repo *manifest.Repository, pins map[string]pin, since time.Time) ([]auditedReport, error) {
	pinned := make(map[string]bool)
	for key := range pins {
		pinned[key] = true
	}
	fresh, err := repo.Reports(ctx, pinned)
	if err != nil {
		return nil, err
	}
	list := []auditedReport{}
	for _, key := range slices.SortedFunc(maps.Keys(pins), func(a, b string) int {
		return cmp.Or(cmp.Compare(pins[a].entry, pins[b].entry), cmp.Compare(a, b))
	}) {
		if pins[key].time < since.UnixMilli() {
			continue
		}
		r, err := auditReport(ctx, repo, key, pins[key])
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	for _, r := range fresh {
		b, _, err := repo.ReadReport(ctx, r.Key)
		if err != nil {
			return nil, err
		}
		list = append(list, auditedReport{Object: r.Key, State: reportNotPinned, Report: b})
	}
	return list, nil
}

func auditReport(ctx context.Context, repo *manifest.Repository, key string, p pin) (auditedReport, error) {
	r := auditedReport{Object: key, Entry: p.entry, State: reportOK}
	b, object, err := repo.ReadReport(ctx, key)
	switch {
	case errors.Is(err, store.ErrNotExist):
		r.State = reportMissing
	case errors.Is(err, manifest.ErrDamaged), err == nil && manifest.ReportOf(key, object).SHA256 != p.sha256:
		r.State = reportAltered
	case err != nil:
		return r, err
	default:
		r.Report = b
	}
	return r, nil
}

// wrongReports returns an error about the first report that is not as it was pinned.
func wrongReports(list []auditedReport) error {
	for _, r := range list {
		if r.State == reportMissing || r.State == reportAltered {
			return &manifest.Damage{Key: r.Object, Err: fmt.Errorf("%s since log entry %d pinned it", r.State, r.Entry)}
		}
	}
	return nil
}

func printReports(out io.Writer, list []auditedReport) error {
	if len(list) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nRESTORE\tSTATE\tENTRY\tPOINT\tRESULT\tWHO\tREPORT")
	for _, r := range list {
		var x struct {
			Ended                            time.Time
			Point                            uint64
			Result, Program, Host, Principal string
		}
		who := ""
		if json.Unmarshal(r.Report, &x) == nil {
			who = fmt.Sprintf("%s on %s as %s", x.Program, x.Host, x.Principal)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", x.Ended.Format(time.RFC3339), r.State, r.Entry, x.Point, cli.Printable(x.Result), cli.Printable(who), r.Object)
	}
	return w.Flush()
}
