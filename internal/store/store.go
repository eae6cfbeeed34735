// Package store keeps immutable objects under string keys, in a directory, in
// a bucket or in memory. It knows keys and bytes, nothing of what they mean.
//
// Every implementation passes the conformance suite of storetest.
package store

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrNoCredentials is ErrCredentials where there are none.
var ErrNoCredentials error = noCredentials{}

type noCredentials struct{}

func (noCredentials) Error() string        { return "no credentials found" }
func (noCredentials) Is(target error) bool { return target == ErrCredentials }

// Detailed is an error that has more to tell than people want to read, such as the id
// that the server gave to the request.
type Detailed interface {
	error
	Detail() string
}

// Errors that callers match with errors.Is. Every error returned by a Store
// wraps one of these, the caller's context error, or is an unclassified failure
// of which it is unknown whether the operation took effect.
var (
	// ErrNotExist: there is no object under the key.
	ErrNotExist = errors.New("object does not exist")
	// ErrExists: a Put with IfAbsent found an object under the key. It may be
	// the caller's own, if an earlier attempt was applied but not answered.
	ErrExists = errors.New("object exists already")
	// ErrRange: a Get asked for bytes that begin beyond the end of the object.
	ErrRange = errors.New("range begins beyond the end of the object")
	// ErrAuth: the store refused the caller's identity or rights.
	ErrAuth = errors.New("access denied by the object store")
	// ErrCredentials: with ErrAuth, it is not the rights but the credentials: there are
	// none, or the store does not know them. Not every store tells.
	ErrCredentials = errors.New("the credentials are not accepted")
	// ErrFull: no space or quota is left.
	ErrFull = errors.New("no space left in the object store")
	// ErrInvalid: the arguments can never succeed: a malformed key or prefix, a
	// negative offset, or a store at a place where there can be none (a bucket
	// that does not exist, a path through a file).
	ErrInvalid = errors.New("invalid argument")
	// ErrUnreachable: there is no connection to the store, and there has been none
	// since it was opened, so that it may be sought in a wrong place.
	ErrUnreachable = errors.New("cannot reach the object store")
	// ErrUnusable: the store can no longer tell what will be there after a crash,
	// and refuses all further calls, for good: only a new process finds out. Of
	// the call that met it first it is unknown whether it took effect.
	ErrUnusable = errors.New("the store cannot be used by this process any more")
)

// Store is a flat, strongly consistent namespace of immutable objects. All
// methods may be called concurrently. CheckKey says which keys there are; a key
// must not be a directory of another key ("a" beside "a/b"), which a store that
// is built on a file system refuses. Objects in the same place whose names are
// no keys are nobody's business: they are neither listed nor touched.
type Store interface {
	// Put stores everything that r yields until io.EOF under key. The object
	// becomes visible as a whole, and durable, before Put returns nil. Nothing is
	// visible if Put returns an error of r, one of the package's errors (but see
	// ErrExists and ErrUnusable), or the error of a ctx that ended before r did. After any other
	// error, including that of a ctx that ended later, it is unknown whether the
	// object is there, and it may yet appear. With PutOptions.IfAbsent an
	// existing object is kept and ErrExists returned, possibly without reading r;
	// otherwise an existing object is replaced, atomically.
	//
	// Put does not close r, is done with it when it returns, and prefers its
	// io.WriterTo to its Read. A Read that blocks is not interrupted by ctx.
	Put(ctx context.Context, key string, r io.Reader, opts PutOptions) (Info, error)

	// Get returns the bytes [off, off+n) of the object; n < 0 means to its
	// end. Fewer bytes than n are delivered only where the object ends; a body
	// cut short by the transport is a read error, never io.EOF. off equal to
	// the size yields an empty body. The caller closes the body. Ending ctx may
	// break a body that is still being read.
	Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)

	// Stat describes the object, or returns ErrNotExist.
	Stat(ctx context.Context, key string) (Info, error)

	// List calls fn for every object whose key begins with prefix (a plain
	// string prefix), in byte order of the keys. It sees every Put that
	// returned before it began. An error of fn stops the listing and is
	// returned. An incomplete listing is an error, never a short one.
	List(ctx context.Context, prefix string, fn func(Info) error) error

	// Delete removes the objects; deleting an absent one is not an error. After
	// an error any subset of them may be gone.
	Delete(ctx context.Context, keys ...string) error
}

// PutOptions qualifies a Put.
type PutOptions struct {
	// IfAbsent makes the Put succeed for exactly one of any number of racers.
	IfAbsent bool
}

// Info describes a stored object.
type Info struct {
	Key  string
	Size int64 // bytes
	// Modified is when the store says it was written, or zero where Put was not
	// told. For display only: no decision rests on it.
	Modified time.Time
}
