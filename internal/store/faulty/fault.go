package faulty

import (
	"context"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/store"
)

// Fault is a way to fail.
type Fault int

// The first group is what every store may do at any time, the second what the
// contract of store.Store rules out.
const (
	// None lets the call succeed.
	None Fault = iota
	// ErrorBefore does nothing and returns an unclassified error, as a 500 would.
	ErrorBefore
	// ErrorAfter does what it was asked and returns an unclassified error: the
	// acknowledgement was lost. A List breaks off half way.
	ErrorAfter
	// Unavailable does nothing and returns an unclassified error, as a 503 would.
	Unavailable
	// Timeout does nothing and returns an error whose Timeout method says true.
	Timeout
	// AppliedLate returns what Timeout returns, but the Put or Delete takes
	// effect some calls later.
	AppliedLate
	// Conflict does nothing and returns an unclassified error, as the 409 of S3
	// to competing conditional writes would. Nobody need have won.
	Conflict
	// ExistsAfter puts the object and returns ErrExists: an attempt whose answer
	// was lost succeeded, and its repetition was refused. The object put is the
	// caller's own.
	ExistsAfter
	// TruncatedUpload reads the body of a Put, keeps nothing, and returns an
	// unclassified error.
	TruncatedUpload
	// ShortBody breaks the body of a Get half way with io.ErrUnexpectedEOF.
	ShortBody
	// Hang waits until the context ends.
	Hang
	// Denied does nothing and returns ErrAuth.
	Denied
	// Full does nothing and returns ErrFull.
	Full

	// EarlyEOF ends the body of a Get half way as if that were all.
	EarlyEOF
	// BitFlip changes one bit in the body of a Get.
	BitFlip
	// StaleList leaves the newest object out of a List.
	StaleList
	// FalseExists does nothing and returns ErrExists, whatever is there.
	FalseExists
	// FalseAbsent does nothing and returns ErrNotExist, whatever is there.
	FalseAbsent
	// DoubleList calls fn for the first half of a List twice, as if a page came again.
	DoubleList

	end
)

// Faults returns all of them but None.
func Faults() []Fault {
	var all []Fault
	for f := None + 1; f < end; f++ {
		all = append(all, f)
	}
	return all
}

// BreaksContract tells whether no correct store has this fault. What is built
// on a store can then do no better than to notice.
func (f Fault) BreaksContract() bool { return f >= EarlyEOF }

// AppliesTo tells whether calls of a kind can fail like this; with Any, some.
func (f Fault) AppliesTo(op Op) bool {
	var ops []Op
	switch f {
	case None:
		return false
	case Conflict, ExistsAfter, TruncatedUpload, Full, FalseExists:
		ops = []Op{Put}
	case ErrorAfter:
		ops = []Op{Put, Delete, List}
	case AppliedLate:
		ops = []Op{Put, Delete}
	case ShortBody, EarlyEOF, BitFlip:
		ops = []Op{Get}
	case StaleList, DoubleList:
		ops = []Op{List}
	case FalseAbsent:
		ops = []Op{Get, Stat}
	default:
		return true
	}
	for _, o := range ops {
		if op == o || op == Any {
			return true
		}
	}
	return false
}

func (f Fault) String() string {
	names := [...]string{
		None: "none", ErrorBefore: "error before", ErrorAfter: "error after", Unavailable: "unavailable",
		Timeout: "timeout", AppliedLate: "applied late", Conflict: "conflict", ExistsAfter: "exists after",
		TruncatedUpload: "truncated upload", ShortBody: "short body", Hang: "hang", Denied: "denied", Full: "full",
		EarlyEOF: "early eof", BitFlip: "bit flip", StaleList: "stale list", FalseExists: "false exists",
		FalseAbsent: "false absent", DoubleList: "double list",
	}
	if f < 0 || int(f) >= len(names) {
		return fmt.Sprintf("Fault(%d)", int(f))
	}
	return names[f]
}

// err returns the error of a call that failed like f, after waiting for it.
func (f Fault) err(ctx context.Context, op Op, key string) error {
	var cause error
	switch f {
	case Hang:
		<-ctx.Done()
		cause = ctx.Err()
	case Timeout, AppliedLate:
		cause = timeoutError{}
	case Denied:
		cause = store.ErrAuth
	case Full:
		cause = store.ErrFull
	case ExistsAfter, FalseExists:
		cause = store.ErrExists
	case FalseAbsent:
		cause = store.ErrNotExist
	default:
		cause = fmt.Errorf("%w: %s", ErrInjected, f)
	}
	return fmt.Errorf("%s %s: %w", op, key, cause)
}

// timeoutError is one of the network, unlike that of an ended context.
type timeoutError struct{}

func (timeoutError) Error() string { return "injected fault: timeout" }
func (timeoutError) Timeout() bool { return true }
func (timeoutError) Unwrap() error { return ErrInjected }
