package store

import (
	"context"
	"time"
)

// What follows is what only some providers can do or tell. A Store implements
// what its own does; whoever wants it asks by a type assertion. An error means
// that it is not known, often for want of a right, which the error then names.

// Corrupter is a Store that can try what becomes of content that is altered on
// its way to the server.
type Corrupter interface {
	// PutCorrupt sends data under key with the checksum of other content, as far
	// as that is what protects a Put. A server that compares refuses it, and
	// taken is false.
	PutCorrupt(ctx context.Context, key string, data []byte) (taken bool, err error)
}

// LifecycleRule is what the server does to objects by itself.
type LifecycleRule struct {
	Name string // as the provider shows it, or what there is in its place
	// Prefix is that of the keys it is for; all if it is empty.
	Prefix string
	// Only says in words which of them, where that depends on more than the
	// prefix and the size.
	Only string
	// Deletes: the objects go away. Otherwise they move to another storage class.
	Deletes bool
	Class   string // where they move to
	// Offline: in that class they cannot be read without being brought back first.
	Offline bool
	When    string // in words: "after 30 days"
}

// Lifecycler is a Store whose provider can have such rules.
type Lifecycler interface {
	// Lifecycle returns the rules that are in force and can concern objects of the
	// store, as they are when they have just been put.
	Lifecycle(ctx context.Context) ([]LifecycleRule, error)
}

// Versioning says how objects that were deleted or replaced can be had again.
type Versioning struct {
	Enabled    bool          // all of them are kept as versions
	SoftDelete time.Duration // deleted ones can be brought back for so long
}

// Versioner is a Store whose provider can keep what was deleted.
type Versioner interface {
	Versioning(ctx context.Context) (Versioning, error)
}

// Spacer is a Store that knows how much can still be put into it.
type Spacer interface {
	// Space returns the bytes that are free, of how many.
	Space(ctx context.Context) (free, of int64, err error)
}

// Lock says how the server keeps new objects from being deleted and replaced.
type Lock struct {
	Possible bool          // objects can be locked one by one
	Mode     string        // how each new object is, in the words of the provider; empty if it is not
	For      time.Duration // how long; 0 if the server does not tell
}

// Locker is a Store whose provider can lock objects.
type Locker interface {
	Lock(ctx context.Context) (Lock, error)
}

// LockTrier is a Store that can be told to lock each object that it puts.
type LockTrier interface {
	// Locks returns how it locks them; its Mode is empty if it does not.
	Locks() Lock
	// TryLock puts data under key, locked like the others, but for an hour only,
	// and tells whether the server says that it is. A server that refuses the lock
	// makes that an error.
	TryLock(ctx context.Context, key string, data []byte) (locked bool, err error)
}
