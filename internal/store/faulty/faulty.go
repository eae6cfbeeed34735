// Package faulty makes chosen calls of a store fail in chosen ways, always the
// same calls in the same ways. A sweep runs a workload once to count its calls
// and then once for each call and Fault:
//
//	for call := 1; call <= counted.Calls(faulty.Any); call++ {
//		s := faulty.New(mem.New(), faulty.Rule{Call: call, Fault: faulty.ErrorAfter})
//		...
//	}
package faulty

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/offsite-kafka/offsite/internal/store"
)

// Op is a kind of call.
type Op string

// The methods of store.Store, and any of them.
const (
	Any    Op = ""
	Put    Op = "put"
	Get    Op = "get"
	Stat   Op = "stat"
	List   Op = "list"
	Delete Op = "delete"
)

// ErrInjected is what the unclassified errors of faults wrap.
var ErrInjected = errors.New("injected fault")

// Rule lets one call fail.
type Rule struct {
	Op    Op    // count only the calls of this kind
	Call  int   // which of them, from 1
	Fault Fault // must apply to its kind, else the call succeeds
	// Later is, for AppliedLate, after how many further calls of any kind the
	// operation takes effect, just before the next one; 0 means 1.
	Later int
}

// Store hands calls on to another store, except where a rule lets them fail. It
// may be used concurrently; which call is the k-th is then up to the callers.
type Store struct {
	inner store.Store
	rules []Rule

	mu     sync.Mutex
	calls  []Call
	counts map[Op]int
	late   []lateOperation
	fired  int
	puts   map[string]int // key to the call that put it last
}

// Call is one that was made.
type Call struct {
	Op  Op
	Key string // of Put, Get, Stat; prefix of List; keys of Delete, separated by spaces
}

// lateOperation takes effect once the number of calls exceeds due.
type lateOperation struct {
	due   int
	apply func()
}

// New returns a store that fails by rules. The first rule for a call counts.
func New(inner store.Store, rules ...Rule) *Store {
	return &Store{inner: inner, rules: rules, counts: map[Op]int{}, puts: map[string]int{}}
}

// Calls returns how many calls of a kind there have been.
func (s *Store) Calls(op Op) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[op]
}

// History returns all calls in order.
func (s *Store) History() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Fired returns how many calls failed by a rule. A sweep should make sure that
// it is not zero, or it tests nothing.
func (s *Store) Fired() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fired
}

// Settle lets all operations that are late take effect now.
func (s *Store) Settle() {
	s.mu.Lock()
	late := s.late
	s.late = nil
	s.mu.Unlock()
	for _, l := range late {
		l.apply()
	}
}

// begin notes a call, lets late operations take effect that are due before it,
// and returns the rule for it, whose Fault is None if there is no rule.
func (s *Store) begin(op Op, key string) Rule {
	s.mu.Lock()
	s.calls = append(s.calls, Call{op, key})
	s.counts[op]++
	s.counts[Any]++
	due, rest := []lateOperation(nil), []lateOperation(nil)
	for _, l := range s.late {
		if len(s.calls) > l.due {
			due = append(due, l)
		} else {
			rest = append(rest, l)
		}
	}
	s.late = rest
	rule := s.ruleFor(op)
	s.mu.Unlock()
	for _, l := range due {
		l.apply()
	}
	return rule
}

// ruleFor is called with mu held.
func (s *Store) ruleFor(op Op) Rule {
	for _, rule := range s.rules {
		if (rule.Op == Any || rule.Op == op) && rule.Call == s.counts[rule.Op] && rule.Fault.AppliesTo(op) {
			s.fired++
			return rule
		}
	}
	return Rule{Fault: None}
}

// postpone lets apply happen after the number of further calls that rule says.
func (s *Store) postpone(rule Rule, apply func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = append(s.late, lateOperation{due: len(s.calls) + max(rule.Later, 1), apply: apply})
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	rule := s.begin(Put, key)
	switch rule.Fault {
	case None:
	case ErrorAfter, ExistsAfter:
		if info, err := s.put(ctx, key, r, opts); err != nil {
			return info, err
		}
		return store.Info{}, rule.Fault.err(ctx, Put, key)
	case TruncatedUpload:
		// All of it is sent, but the store misses some and keeps nothing.
		if _, err := io.Copy(io.Discard, r); err != nil {
			return store.Info{}, err
		}
		return store.Info{}, rule.Fault.err(ctx, Put, key)
	case AppliedLate:
		data, err := io.ReadAll(r)
		if err != nil {
			return store.Info{}, err
		}
		s.postpone(rule, func() {
			// Nobody waits for the result; an object that is there by now stays.
			_, _ = s.put(context.WithoutCancel(ctx), key, bytes.NewReader(data), opts)
		})
		return store.Info{}, rule.Fault.err(ctx, Put, key)
	default:
		return store.Info{}, rule.Fault.err(ctx, Put, key)
	}
	return s.put(ctx, key, r, opts)
}

func (s *Store) put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	info, err := s.inner.Put(ctx, key, r, opts)
	if err == nil {
		s.mu.Lock()
		s.puts[key] = len(s.calls)
		s.mu.Unlock()
	}
	return info, err
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	fault := s.begin(Get, key).Fault
	switch fault {
	case None:
		return s.inner.Get(ctx, key, off, n)
	case ShortBody, EarlyEOF, BitFlip:
		return s.damagedBody(ctx, fault, key, off, n)
	}
	return nil, fault.err(ctx, Get, key)
}

func (s *Store) damagedBody(ctx context.Context, fault Fault, key string, off, n int64) (io.ReadCloser, error) {
	body, err := s.inner.Get(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	half := len(data) / 2
	switch fault {
	case ShortBody:
		return io.NopCloser(io.MultiReader(bytes.NewReader(data[:half]), broken{key})), nil
	case EarlyEOF:
		return io.NopCloser(bytes.NewReader(data[:half])), nil
	}
	if len(data) > 0 {
		data[half] ^= 0x10
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// broken is what is left of a body whose connection broke.
type broken struct{ key string }

func (b broken) Read([]byte) (int, error) {
	return 0, fmt.Errorf("read %s: %w: %w", b.key, ErrInjected, io.ErrUnexpectedEOF)
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, key string) (store.Info, error) {
	if fault := s.begin(Stat, key).Fault; fault != None {
		return store.Info{}, fault.err(ctx, Stat, key)
	}
	return s.inner.Stat(ctx, key)
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	fault := s.begin(List, prefix).Fault
	switch fault {
	case None:
		return s.inner.List(ctx, prefix, fn)
	case ErrorAfter, StaleList, DoubleList:
		return s.damagedList(ctx, fault, prefix, fn)
	}
	return fault.err(ctx, List, prefix)
}

// damagedList leaves out the newest object, shows the first half twice, or breaks off
// after it.
func (s *Store) damagedList(ctx context.Context, fault Fault, prefix string, fn func(store.Info) error) error {
	var infos []store.Info
	if err := s.inner.List(ctx, prefix, func(i store.Info) error { infos = append(infos, i); return nil }); err != nil {
		return err
	}
	switch half := infos[:len(infos)/2]; fault {
	case StaleList:
		infos = s.withoutNewest(infos)
	case DoubleList:
		infos = slices.Concat(half, infos)
	default:
		infos = half
	}
	for _, info := range infos {
		if err := fn(info); err != nil {
			return err
		}
	}
	if fault.BreaksContract() {
		return nil
	}
	return fault.err(ctx, List, prefix)
}

// withoutNewest takes the last key for the newest among equals.
func (s *Store) withoutNewest(infos []store.Info) []store.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(infos) == 0 {
		return nil
	}
	newest := 0
	for i, info := range infos {
		if s.puts[info.Key] >= s.puts[infos[newest].Key] {
			newest = i
		}
	}
	return append(infos[:newest:newest], infos[newest+1:]...)
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	rule := s.begin(Delete, strings.Join(keys, " "))
	switch rule.Fault {
	case None:
		return s.inner.Delete(ctx, keys...)
	case ErrorAfter:
		if err := s.inner.Delete(ctx, keys...); err != nil {
			return err
		}
	case AppliedLate:
		s.postpone(rule, func() { _ = s.inner.Delete(context.WithoutCancel(ctx), keys...) })
	}
	return rule.Fault.err(ctx, Delete, strings.Join(keys, " "))
}
