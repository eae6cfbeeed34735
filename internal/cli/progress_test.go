package cli

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// Without a terminal progress is a log line now and then, and nothing at its end.
func TestProgressWithoutTerminal(t *testing.T) {
	var out bytes.Buffer
	g := &Globals{Log: slog.New(slog.NewTextHandler(&out, nil))}
	p := g.NewProgress("restoring", "records", 100)
	p.Add(1)
	if out.Len() > 0 {
		t.Errorf("logged at once: %s", out.String())
	}
	p.logged = time.Now().Add(-logEvery)
	p.Add(41)
	p.Add(1)
	p.End()
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "of=restoring done=42 total=100 unit=records") {
		t.Errorf("logged %q", got)
	}
	p.logged = time.Now().Add(-logEvery)
	p.Set(7, 8)
	if got := out.String(); !strings.Contains(got, "done=7 total=8") {
		t.Errorf("logged %q", got)
	}
}
