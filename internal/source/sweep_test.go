//go:build !e2e

package source

import "github.com/offsite-kafka/offsite/internal/store/faulty"

// sweep leaves out the faults that nobody can tell from ErrorBefore. With the
// tag e2e they are all there.
var sweep = []faulty.Fault{
	faulty.ErrorBefore, faulty.ErrorAfter, faulty.AppliedLate, faulty.ExistsAfter, faulty.TruncatedUpload,
	faulty.ShortBody, faulty.Hang, faulty.Denied, faulty.Full, faulty.EarlyEOF, faulty.BitFlip,
}
