// Package child runs processes that do not outlive the process that started them, however that one ends.
package child

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Process is a running child. All methods are safe for concurrent use.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; set before done is closed
}

// Start starts cmd, which the caller must not touch afterwards. On Linux the kernel kills the child as soon as this
// process is gone, even by SIGKILL. Elsewhere a child is left behind if this process dies without calling Kill.
func Start(cmd *exec.Cmd) (*Process, error) {
	dieWithParent(cmd)
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel ties a parent-death signal to the thread that forked, not to the process, and the Go runtime ends
		// idle threads. So the thread is kept by this goroutine for as long as the child lives.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and was waited for.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns how the process ended, as [exec.Cmd.Wait] does. It must only be called after Done is closed.
func (p *Process) Err() error { return p.err }

// Signal sends sig. It returns [os.ErrProcessDone] if the process has ended.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Kill sends SIGKILL and waits for the end of the process. It may be called again, and after the process has ended.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return nil
}
