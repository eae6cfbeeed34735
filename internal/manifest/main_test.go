package manifest_test

import (
	"runtime/debug"
	"testing"
)

// The tests need little memory and make much garbage: collected more rarely, they
// take less time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	m.Run()
}
