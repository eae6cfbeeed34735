package kafka_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No test may leave a goroutine behind, which here means an open connection.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
