// Package storecheck finds out whether an object store is what a repository needs,
// by trying it where the repository is or is to be.
//
// What it puts there are canaries: small objects under CanaryPrefix with names
// never used before, which it removes as far as it may. It touches nothing else.
package storecheck

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
)

// Errors that callers match with errors.Is.
var (
	// ErrNoFence: the store lets two create the same object, so that nothing keeps
	// two writers of a repository apart.
	ErrNoFence = errors.New("the store does not honour create-if-absent")
	// ErrUnfit: a check failed.
	ErrUnfit = errors.New("the store is not fit for a repository")
)

// State is how a check ended.
type State string

// The states, from good to bad.
const (
	OK      State = "ok"
	Unknown State = "not known" // the store does not tell, or could not be asked
	Warning State = "warning"   // a repository works, but something threatens it
	Failed  State = "failed"    // no repository should be here
)

// Result is what one check found.
type Result struct {
	Check  string `json:"check"`
	State  State  `json:"result"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

// check is one of them.
type check struct {
	name string
	run  func(context.Context) (Result, error)
}

// Bounds of a run.
const (
	racers      = 32 // that create one object at once
	rounds      = 20 // of them
	fewRounds   = 2  // where what they create cannot be removed
	raceTime    = 8 * time.Second
	checkTime   = 30 * time.Second // of one check; stores repeat what fails for about so long
	canaryBytes = 1000
)

// checker tries a store.
type checker struct {
	store.Store
	*canaries
	now func() time.Time

	canary   []byte       // content of the first object, nil until it is there
	put      [2]time.Time // before and after it was put
	modified time.Time    // when the store says that was
	deletes  bool         // objects can be removed
}

// Run checks st and tells each result as soon as it is there. It returns the keys
// of the canaries that stay behind, and an error if the store could not be tried
// at all, such as ErrUnreachable, or if ctx has ended.
func Run(ctx context.Context, st store.Store, tell func(Result)) (left []string, err error) {
	return newChecker(st, time.Now).run(ctx, tell)
}

func newChecker(st store.Store, now func() time.Time) *checker {
	return &checker{Store: st, canaries: newCanaries(st), now: now}
}

func (c *checker) run(ctx context.Context, tell func(Result)) (left []string, err error) {
	defer func() { left = c.remove(ctx) }()
	checks := []check{
		{"create", c.create}, {"read", c.read}, {"ranges", c.ranges}, {"delete", c.delete},
		{"create-if-absent", c.fence}, {"list", c.list}, {"checksum", c.checksum}, {"clock", c.clock},
		{"lifecycle", c.lifecycle}, {"versioning", c.versioning}, {"lock", c.lock},
	}
	if st, ok := c.Store.(store.Spacer); ok { // a bucket has no end
		checks = append(checks, check{"space", func(ctx context.Context) (Result, error) { return c.space(ctx, st) }})
	}
	for _, check := range checks {
		r, err := within(ctx, check.run)
		if err != nil && (ctx.Err() != nil || errors.Is(err, store.ErrUnreachable) || errors.Is(err, store.ErrInvalid)) {
			return nil, fmt.Errorf("check %s: %w", check.name, err)
		}
		if err != nil {
			r.State, r.Detail = Failed, err.Error()
		}
		if err != nil {
			r.Fix = fixFor(err, r.Fix)
		}
		r.Check, r.Detail = check.name, oneLine(r.Detail)
		tell(r)
	}
	return nil, nil
}

// fixFor returns the remedy for an error, where the check knows but the usual one, or
// none.
func fixFor(err error, usual string) string {
	switch {
	case errors.Is(err, store.ErrCredentials):
		return credentialsFix
	case errors.Is(err, store.ErrAuth) && isOfFile(err):
		return directoryFix
	case errors.Is(err, store.ErrFull):
		return "make room, or put the repository elsewhere"
	case usual == "":
		return "the store did not do what it was asked for: see to that, and try again"
	}
	return usual
}

// oneLine is a text without line breaks, which some SDKs put into what they say.
func oneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// within bounds the time of a check.
func within(ctx context.Context, check func(context.Context) (Result, error)) (Result, error) {
	late := fmt.Errorf("no answer within %s", checkTime)
	bounded, cancel := context.WithTimeoutCause(ctx, checkTime, late)
	defer cancel()
	r, err := check(bounded)
	if err != nil && errors.Is(context.Cause(bounded), late) {
		err = late
	}
	return r, err
}
