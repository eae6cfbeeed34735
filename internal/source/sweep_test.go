package source

import (
	"testing"

	"github.com/offsite-kafka/offsite/internal/store/faulty"
)

// sweep leaves out the faults that nobody can tell from ErrorBefore: the tests
// with the tag e2e are about those.
var sweep = []faulty.Fault{
	faulty.ErrorBefore, faulty.ErrorAfter, faulty.AppliedLate, faulty.ExistsAfter, faulty.TruncatedUpload,
	faulty.ShortBody, faulty.Hang, faulty.Denied, faulty.Full, faulty.EarlyEOF, faulty.BitFlip,
}

func TestBackupWithFaultAtEveryCall(t *testing.T) { backUpWithFaultAtEveryCall(t, sweep, 4) }

func TestRestoreWithFaultAtEveryCall(t *testing.T) { restoreWithFaultAtEveryCall(t, sweep, 4) }
