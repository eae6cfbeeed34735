package main

import (
	"testing"

	"github.com/offsite-kafka/offsite/internal/cli/clitest"
)

func TestCommandsAndFlags(t *testing.T) {
	root, _ := program()
	clitest.Documented(t, root, "../../docs/cli.md")
}
