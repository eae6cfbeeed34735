package manifest

import (
	"context"
	"time"
)

// What the tests of this package need of its inside.

func DecodeEntry(b []byte) (*Entry, error) {
	e, _, err := decodeEntry(b, nil)
	return e, err
}

func (e *Entry) Encode() ([]byte, error) { return e.encode(new(packer), nil, nil, ID{}) }

// Body returns the entry's body as it is before compression.
func (e *Entry) Body() []byte { return e.appendBody(nil) }

func (s *State) Check(e *Entry) error { return s.check(e) }

func (s *State) Apply(e *Entry, digest Digest) { s.apply(e, digest) }

func NewState() *State { return newState(Digest{}) }

func ParseLogKey(key string) (uint64, bool) { return parseLogKey(key) }

const MaxBody = maxBody

// LogFrom returns a log whose entries up to the state are those of somebody else.
func (r *Repository) LogFrom(s *State) *Log {
	return &Log{repo: r, writer: NewID(), state: s, now: time.Now}
}

func DecodeSnapshot(b []byte, repo ID) (*State, error) { return decodeSnapshot(b, repo) }

// SnapshotBody returns the body of the state's snapshot as it is before compression.
func (s *State) SnapshotBody() []byte { return s.appendSnapshot(nil) }

// EncodeSealed seals an entry with a generation of the state's keys, which need not be
// the newest.
func (r *Repository) EncodeSealed(s *State, e *Entry, generation int) ([]byte, error) {
	key, err := r.keys.logKey(r.ID, generation, s.Generations)
	if err != nil {
		return nil, err
	}
	return e.encode(new(packer), &entrySeal{key, generation, s.KeysEntry}, nil, r.ID)
}

// StateKeysAs returns the entry that states a list of keys, as any writer could.
func (l *Log) StateKeysAs(ctx context.Context, s *State, list []Generation) (*Entry, error) {
	return l.stateKeys(ctx, s, Agent{Program: "thief"}, list)
}

// DataIdentity is what blocks are opened with.
func (r *Repository) DataIdentity(generation int) error {
	_, err := r.keys.dataIdentity(generation)
	return err
}

// AddGeneration makes one more generation of keys for chosen readers and writers.
func (l *Log) AddGeneration(ctx context.Context, agent Agent, readers, writers []KeyHolder) error {
	_, err := l.Append(ctx, func(s *State) (*Entry, error) { return l.newGeneration(ctx, s, agent, readers, writers) })
	return err
}

// WithoutMoved is the state without what a snapshot has in another object.
func (s *State) WithoutMoved() State {
	c := *s
	c.moved = moved{}
	return c
}

// ForgetParts makes the state one of before snapshots had everything.
func (s *State) ForgetParts() {
	s.early, s.moved, s.Growths = true, moved{}, nil
	s.stretches.unknown = true
}

// SetStretches gives the state stretches as if its log had been read.
func (s *State) SetStretches(list []Stretch) { s.stretches.list = list }
