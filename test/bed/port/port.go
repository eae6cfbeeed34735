// Package port finds free loopback ports and keeps them free for a server that is started, stopped and started again.
package port

import (
	"fmt"
	"syscall"
)

// Held is a TCP port of 127.0.0.1 that is set aside. A server that binds it explicitly with SO_REUSEADDR, as Go and
// Java servers do, gets it; a server that asks for any free port does not, and no outgoing connection uses it as its
// own port. While no server listens, connections to it are refused. The port is let go by Release or with the process.
type Held struct {
	fd     int
	number int
}

// Hold sets a free port aside.
func Hold() (*Held, error) {
	// As net does: nothing may fork between the two calls, or the child would hold the port too.
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("hold port: socket: %w", err)
	}
	number, err := bind(fd)
	if err != nil {
		syscall.Close(fd)
		return nil, fmt.Errorf("hold port: %w", err)
	}
	return &Held{fd: fd, number: number}, nil
}

// bind takes a port that nobody has, then allows sharing it. The order matters: with SO_REUSEADDR set before, the
// kernel could hand out a port that another holder has bound and does not listen on.
func bind(fd int) (int, error) {
	loopback := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err := syscall.Bind(fd, loopback); err != nil {
		return 0, fmt.Errorf("bind: %w", err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, fmt.Errorf("allow address reuse: %w", err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, fmt.Errorf("get port: %w", err)
	}
	return name.(*syscall.SockaddrInet4).Port, nil
}

// Number returns the port's number.
func (h *Held) Number() int { return h.number }

// Addr returns host and port as in "127.0.0.1:40123".
func (h *Held) Addr() string { return fmt.Sprintf("127.0.0.1:%d", h.number) }

// Release lets the port go. It must be called once.
func (h *Held) Release() { syscall.Close(h.fd) }
