package storecheck

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/offsite-kafka/offsite/internal/store"
)

// silent is the result of what a kind of store has no words for.
func silent(fix string) (Result, error) {
	return Result{State: Unknown, Detail: "a store of this kind does not tell", Fix: fix}, nil
}

// unasked is the result of a question that was not answered.
func unasked(ctx context.Context, err error, fix string) (Result, error) {
	switch {
	case ctx.Err() != nil:
		return Result{}, err
	case errors.Is(err, store.ErrCredentials): // the first check has told what the store says
		return Result{State: Unknown, Detail: store.ErrCredentials.Error(), Fix: credentialsFix}, nil
	}
	return Result{State: Unknown, Detail: err.Error(), Fix: fix}, nil
}

// lifecycle looks for rules by which the server takes the repository away.
func (c *checker) lifecycle(ctx context.Context) (Result, error) {
	const look = "see to it that no rule deletes or archives objects under this prefix"
	st, ok := c.Store.(store.Lifecycler)
	if !ok {
		return silent(look)
	}
	rules, err := st.Lifecycle(ctx)
	if err != nil {
		return unasked(ctx, err, look)
	}
	worst := Result{State: OK, Detail: "no rule deletes or archives objects of the repository"}
	for _, r := range rules {
		if found := judgeRule(r); found.State == Failed || found.State == Warning && worst.State == OK {
			worst = found
		}
	}
	return worst, nil
}

// judgeRule says what a rule means for a repository. Those for canaries alone are
// a way to be rid of them.
func judgeRule(r store.LifecycleRule) Result {
	if strings.HasPrefix(r.Prefix, CanaryPrefix) || !r.Deletes && !r.Offline {
		return Result{State: OK}
	}
	what := "deletes objects " + r.When
	if !r.Deletes {
		what = fmt.Sprintf("moves objects to %s %s, where they cannot be read without being brought back", r.Class, r.When)
	}
	found := Result{State: Failed, Detail: fmt.Sprintf("the lifecycle rule %q %s", r.Name, what),
		Fix: "exclude the prefix of the repository from it: every object is needed, for as long as the repository is"}
	if r.Only != "" {
		found.State = Warning
		found.Detail += ", if they are " + strings.TrimPrefix(r.Only, "of ")
		found.Fix = "make sure that none of the repository is meant"
	}
	return found
}

// versioning looks whether what was deleted can be had again.
func (c *checker) versioning(ctx context.Context) (Result, error) {
	const look = "see to it that the place keeps versions, or what was deleted, for some time"
	st, ok := c.Store.(store.Versioner)
	if !ok {
		return silent(look)
	}
	v, err := st.Versioning(ctx)
	switch {
	case err != nil:
		return unasked(ctx, err, look)
	case v.Enabled:
		return Result{State: OK, Detail: "what is deleted or replaced is kept as a version"}, nil
	case v.SoftDelete > 0:
		return Result{State: OK, Detail: "what is deleted can be brought back for " + days(v.SoftDelete)}, nil
	}
	return Result{State: Warning, Detail: "what is deleted by mistake, or by who has stolen the credentials, is gone", Fix: "turn versioning on"}, nil
}

// A place with less than that is soon full: the capture of a busy cluster fills it within minutes.
const (
	leastSpace = 1 << 30
	leastShare = 20 // of all there is, one in so many
)

// space looks how much room there is.
func (c *checker) space(ctx context.Context, st store.Spacer) (Result, error) {
	const look = "see to it that there is room for what is captured"
	free, of, err := st.Space(ctx)
	if err != nil {
		return unasked(ctx, err, look)
	}
	found := Result{State: OK, Detail: fmt.Sprintf("%s of %s are free", humanize.IBytes(uint64(free)), humanize.IBytes(uint64(of)))}
	if free < leastSpace || free < of/leastShare {
		found.State, found.Fix = Warning, "make room, or put the repository elsewhere: without any, backupd captures nothing, and what the cluster deletes meanwhile is lost to the backup"
	}
	return found, nil
}

// lock looks whether objects are kept from being deleted.
func (c *checker) lock(ctx context.Context) (Result, error) {
	const look = "see to it that objects are kept from being deleted"
	if st, ok := c.Store.(store.LockTrier); ok && st.Locks().Mode != "" {
		return c.tryLock(ctx, st)
	}
	st, ok := c.Store.(store.Locker)
	if !ok {
		return silent(look)
	}
	l, err := st.Lock(ctx)
	switch {
	case err != nil:
		return unasked(ctx, err, look)
	case l.Mode != "" && l.For > 0:
		return Result{State: OK, Detail: fmt.Sprintf("each object is kept for %s (%s)", days(l.For), l.Mode)}, nil
	case l.Mode != "":
		return Result{State: OK, Detail: "each object is kept by " + l.Mode}, nil
	case l.Possible:
		return Result{State: Warning, Detail: "objects can be locked, but new ones are not", Fix: "set a default retention, or let backupd lock them (store.s3.objectLock)"}, nil
	}
	return Result{State: Warning, Detail: "objects are not locked: an administrator can delete the backup for good",
		Fix: "use Object Lock, a retention policy or an immutability policy with a default retention"}, nil
}

// lockCanary is the number of the object that is locked, behind those of the races.
const lockCanary = firstRaced + rounds

// tryLock puts an object with the lock that all others are to have.
func (c *checker) tryLock(ctx context.Context, st store.LockTrier) (Result, error) {
	const fix = "use a bucket with Object Lock, and give the identity s3:PutObjectRetention, or take store.s3.objectLock out of the configuration"
	key := c.key(lockCanary)
	locked, err := st.TryLock(ctx, key, []byte("locked for an hour"))
	switch {
	case ctx.Err() != nil:
		return Result{}, err
	case errors.Is(err, store.ErrInvalid) || err != nil && !c.isThere(ctx, key):
		return Result{State: Failed, Detail: "objects cannot be locked: " + err.Error(), Fix: fix}, nil
	case err != nil:
		return Result{State: Unknown, Detail: "an object was put with a lock, but is it locked? " + err.Error(), Fix: "look whether the server honours Object Lock"}, nil
	case !locked:
		return Result{State: Failed, Detail: "the server takes objects that are to be locked, and does not lock them", Fix: fix}, nil
	}
	return Result{State: OK, Detail: fmt.Sprintf("backupd locks each object for %s (%s), and the server says so of one", days(st.Locks().For), st.Locks().Mode)}, nil
}

// isThere tells whether the object under key was put.
func (c *checker) isThere(ctx context.Context, key string) bool {
	_, err := c.Stat(ctx, key)
	if isAbsent(err) {
		c.forget(key)
	}
	return err == nil
}

func days(d time.Duration) string {
	if d < 48*time.Hour {
		return fmt.Sprintf("%.0f hours", d.Hours())
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}
