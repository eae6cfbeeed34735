package source

import (
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"
)

// No test may leave a goroutine behind. They need little memory and make much
// garbage: collected more rarely, they take less time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	goleak.VerifyTestMain(m)
}
