// Package server runs a program that listens on one loopback port, and can be killed and started again.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/offsite-kafka/offsite/test/bed/child"
	"github.com/offsite-kafka/offsite/test/bed/port"
)

// startTimeout bounds how long a server may take to answer, which is less than a second on an idle machine.
const startTimeout = time.Minute

// Server is a program that listens, or was killed. Methods are safe for concurrent use, except Restart, Kill and Close.
type Server struct {
	name    string
	logFile string
	command func(addr string) *exec.Cmd
	port    *port.Held
	process *child.Process
}

// New sets a port aside for the server that command starts at an address, and starts nothing yet. What the server
// writes is appended to logFile.
func New(name, logFile string, command func(addr string) *exec.Cmd) (*Server, error) {
	held, err := port.Hold()
	if err != nil {
		return nil, err
	}
	return &Server{name: name, logFile: logFile, command: command, port: held}, nil
}

// Restart starts a server that was killed, or not started yet, on its old port, and returns when it accepts connections.
func (s *Server) Restart(ctx context.Context) error {
	log, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := s.command(s.Addr())
	cmd.Stdout, cmd.Stderr = log, log
	if s.process, err = child.Start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	if err := s.waitReady(ctx); err != nil {
		text, _ := os.ReadFile(s.logFile)
		return errors.Join(fmt.Errorf("wait for %s: %w\n%s", s.name, err, text), s.Kill())
	}
	return nil
}

func (s *Server) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "tcp", s.Addr())
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.process.Done():
			return fmt.Errorf("ended: %w", s.process.Err())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Kill ends the server at once (SIGKILL). What it has written to files stays.
func (s *Server) Kill() error {
	if s.process == nil {
		return nil
	}
	return s.process.Kill()
}

// Close kills the server and lets its port go. It must be called once.
func (s *Server) Close() error {
	defer s.port.Release()
	return s.Kill()
}

// Addr returns host and port.
func (s *Server) Addr() string { return s.port.Addr() }

// Endpoint returns the server's URL.
func (s *Server) Endpoint() string { return "http://" + s.Addr() }
