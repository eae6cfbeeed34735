package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/offsite-kafka/offsite/test/bed/child"
	"github.com/offsite-kafka/offsite/test/bed/port"
)

// stopTimeout is how long an orderly stop may take, which includes handing leadership over.
const stopTimeout = time.Minute

var errNotRunning = errors.New("not running")

// broker is one node. Its ports and directory stay its own while it is down.
type broker struct {
	id         int
	dir        string
	controller *port.Held
	ports      map[Listener]*port.Held
	keystore   string // PEM file, "" without a TLS listener

	mu      sync.Mutex     // guards process
	process *child.Process // the last run, nil before the first
}

func newBroker(id int, dir string, listeners []Listener) (*broker, error) {
	b := &broker{id: id, dir: dir, ports: map[Listener]*port.Held{}}
	var err error
	if b.controller, err = port.Hold(); err != nil {
		return nil, err
	}
	for _, l := range listeners {
		if b.ports[l], err = port.Hold(); err != nil {
			delete(b.ports, l)
			b.releasePorts()
			return nil, err
		}
	}
	return b, nil
}

// releasePorts may be called again.
func (b *broker) releasePorts() {
	if b.controller == nil {
		return
	}
	b.controller.Release()
	for _, p := range b.ports {
		p.Release()
	}
	b.controller = nil
}

func (b *broker) dataDir() string        { return filepath.Join(b.dir, "data") }
func (b *broker) logFile() string        { return filepath.Join(b.dir, "server.log") }
func (b *broker) propertiesFile() string { return filepath.Join(b.dir, "server.properties") }

func (b *broker) writeFiles(properties map[string]string) error {
	if err := os.MkdirAll(b.dataDir(), 0o755); err != nil {
		return err
	}
	return os.WriteFile(b.propertiesFile(), encodeProperties(properties), 0o600)
}

// spawn runs cmd as the broker's process.
func (b *broker) spawn(cmd *exec.Cmd) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process != nil && !ended(b.process) {
		return fmt.Errorf("start broker %d: already running", b.id)
	}
	log, err := os.OpenFile(b.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start broker %d: %w", b.id, err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if b.process, err = child.Start(cmd); err != nil {
		return fmt.Errorf("start broker %d: %w", b.id, err)
	}
	return nil
}

func ended(p *child.Process) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// running returns the broker's process, or nil.
func (b *broker) running() *child.Process {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process == nil || ended(b.process) {
		return nil
	}
	return b.process
}

func (b *broker) kill() error {
	p := b.running()
	if p == nil {
		return nil
	}
	return p.Kill()
}

// logTail returns the end of the broker's log, for errors.
func (b *broker) logTail() string {
	const lines = 40
	log, err := os.ReadFile(b.logFile())
	if err != nil {
		return err.Error()
	}
	log = bytes.TrimRight(log, "\n")
	start := len(log)
	for range lines {
		if start = bytes.LastIndexByte(log[:start], '\n'); start < 0 {
			break
		}
	}
	return string(log[start+1:])
}

func (c *Cluster) spawn(b *broker) error {
	return b.spawn(c.install.command(c.options, b.dir, nil, "kafka.Kafka", b.propertiesFile()))
}

// Start starts a broker that is down, on its old ports and data. It returns once the broker process runs: it takes a
// while to answer, and WaitReady waits for that.
func (c *Cluster) Start(id int) error { return c.spawn(c.brokers[id]) }

// Stop stops a broker in the orderly way (SIGTERM) and returns when it has ended. When it does not end in time, it
// goes on running and an error is returned.
func (c *Cluster) Stop(ctx context.Context, id int) error {
	b := c.brokers[id]
	p := b.running()
	if p == nil {
		return fmt.Errorf("stop broker %d: %w", id, errNotRunning)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop broker %d: %w", id, err)
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	select {
	case <-p.Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop broker %d: %w\n%s", id, ctx.Err(), b.logTail())
	}
}

// Kill ends a broker at once (SIGKILL) and returns when it has ended. Killing one that is down is no error.
func (c *Cluster) Kill(id int) error {
	if err := c.brokers[id].kill(); err != nil {
		return fmt.Errorf("kill broker %d: %w", id, err)
	}
	return nil
}

// Pause freezes a broker (SIGSTOP): its connections stay open and nothing answers.
func (c *Cluster) Pause(id int) error { return c.signal(id, syscall.SIGSTOP) }

// Resume lets a paused broker go on (SIGCONT).
func (c *Cluster) Resume(id int) error { return c.signal(id, syscall.SIGCONT) }

func (c *Cluster) signal(id int, sig syscall.Signal) error {
	p := c.brokers[id].running()
	if p == nil {
		return fmt.Errorf("signal broker %d: %w", id, errNotRunning)
	}
	if err := p.Signal(sig); err != nil {
		return fmt.Errorf("signal broker %d: %w", id, err)
	}
	return nil
}

// PID returns the process id of a broker, or 0 if it is down.
func (c *Cluster) PID(id int) int {
	p := c.brokers[id].running()
	if p == nil {
		return 0
	}
	return p.PID()
}
