//go:build e2e

package source

import (
	"slices"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store/faulty"
)

// leftOut returns the faults that the sweep leaves out.
func leftOut() []faulty.Fault {
	return slices.DeleteFunc(faulty.Faults(), func(f faulty.Fault) bool { return slices.Contains(sweep, f) })
}

func TestBackupWithOtherFaultAtEveryCall(t *testing.T) { backUpWithFaultAtEveryCall(t, leftOut(), 2) }

func TestRestoreWithOtherFaultAtEveryCall(t *testing.T) { restoreWithFaultAtEveryCall(t, leftOut(), 2) }
