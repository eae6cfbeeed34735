package cli

import (
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress shows how far a command is: a bar with rate and time left on a
// terminal, a log line now and then otherwise. Its methods may be called
// concurrently.
type Progress struct {
	mu     sync.Mutex
	what   string
	unit   string
	log    *slog.Logger
	bar    *progressbar.ProgressBar
	total  int64
	done   int64
	logged time.Time
}

// logEvery is how often progress is logged where there is no terminal.
const logEvery = 10 * time.Second

// NewProgress returns a progress that counts units; total may be 0 until it is
// known.
func NewProgress(log *slog.Logger, what, unit string, total int64) *Progress {
	p := &Progress{what: what, unit: unit, log: log, total: total, logged: time.Now()}
	if Terminal(os.Stderr) {
		p.bar = progressbar.NewOptions64(max(total, 1),
			progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetItsString(unit),
			progressbar.OptionShowIts(), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	return p
}

// Set states what is done, and of how much.
func (p *Progress) Set(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.total = done, total
	p.show()
}

// Add states that more is done.
func (p *Progress) Add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	p.show()
}

func (p *Progress) show() {
	if p.bar != nil {
		if p.bar.GetMax64() != max(p.total, 1) {
			p.bar.ChangeMax64(max(p.total, 1))
		}
		_ = p.bar.Set64(min(p.done, p.bar.GetMax64())) // at most: the total may be an estimate
		return
	}
	if time.Since(p.logged) >= logEvery {
		p.logged = time.Now()
		p.log.Info("progress", "of", p.what, "done", p.done, "total", p.total, "unit", p.unit)
	}
}

// End takes the bar off the screen.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
		p.bar = nil
	}
}
