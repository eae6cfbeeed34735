// Command bed runs Kafka brokers and object stores on this machine, for trying things out by hand.
//
//	go run ./test/bed up [--brokers 3] [--version 3.9] [--authorizer] [--s3] [--gcs] [--azure]
//	go run ./test/bed fetch
//
// up prints how to reach what it started as lines that a shell can evaluate, and runs until it is interrupted; then
// everything is stopped and removed. fetch downloads and builds what up and the tests need, and starts nothing that
// stays.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("want a command: up or fetch")
	}
	switch args[0] {
	case "up":
		return up(ctx, args[1:])
	case "fetch":
		return fetch(ctx)
	default:
		return fmt.Errorf("unknown command %q: want up or fetch", args[0])
	}
}
