package cli

import (
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// screen is standard error where it is a terminal: a bar at its end, log lines
// above it. Its methods may be called concurrently.
type screen struct {
	mu  sync.Mutex
	bar *progressbar.ProgressBar // nil without one
}

// Write implements io.Writer for log lines.
func (s *screen) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	return os.Stderr.Write(line)
}

// clear takes the bar off the screen until it is drawn again.
func (s *screen) clear() {
	if s.bar != nil {
		_ = s.bar.Clear()
	}
}

// draw shows the bar. Units are counted, or, if they are bytes, measured.
func (s *screen) draw(what, unit string, done, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar == nil {
		s.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetItsString(unit),
			progressbar.OptionShowIts(), progressbar.OptionShowCount(), progressbar.OptionShowBytes(unit == "bytes"), progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
	}
	if s.bar.GetMax64() != total {
		s.bar.ChangeMax64(total)
	}
	_ = s.bar.Set64(min(done, total)) // the total may be an estimate
}

func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	s.bar = nil
}

// Progress shows how far a command is: a bar with rate and time left on a
// terminal, a log line now and then otherwise. Its methods may be called
// concurrently.
type Progress struct {
	mu     sync.Mutex
	what   string
	unit   string
	log    *slog.Logger
	screen *screen // nil without a terminal
	total  int64
	done   int64
	logged time.Time
}

// logEvery is how often progress is logged where there is no terminal.
const logEvery = 10 * time.Second

// NewProgress returns a progress that counts units; total may be 0 until it is
// known.
func (g *Globals) NewProgress(what, unit string, total int64) *Progress {
	return &Progress{what: what, unit: unit, log: g.Log, screen: g.screen, total: total, logged: time.Now()}
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
	if p.screen != nil {
		if p.total > 0 {
			p.screen.draw(p.what, p.unit, p.done, p.total)
		}
		return
	}
	if time.Since(p.logged) >= logEvery {
		p.logged = time.Now()
		p.log.Info("progress", "of", p.what, "done", p.done, "total", p.total, "unit", p.unit)
	}
}

// End takes the bar off the screen.
func (p *Progress) End() {
	if p.screen != nil {
		p.screen.end()
	}
}
