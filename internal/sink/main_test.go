package sink_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No session may leave a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
