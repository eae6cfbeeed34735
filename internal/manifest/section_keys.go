package manifest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/wire"
)

// secKeys is the section of the keys of an encrypted repository.
const secKeys = 16

const (
	maxGenerations = 1 << 16
	maxHolders     = 256
	maxWho         = 256 << 10

	// MaxComment bounds what is said about a recipient, in bytes.
	MaxComment = 256
)

// Keys is a statement about all generations of keys.
type Keys struct {
	Before      uint64       // the entry with the keys before these, 0 for none
	Who         []byte       // has stated them: an Agent, sealed
	Generations []Generation // by number
	MAC         Digest
}

// Generation are the keys that are used from one entry on to the next one that has
// a newer generation.
type Generation struct {
	Recipient    string // of data
	DataIdentity []byte // wrapped for the readers
	LogKey       []byte // wrapped for readers and writers
	Check        Digest // of the log key
	Readers      []KeyHolder
	Writers      []KeyHolder
}

// KeyHolder is who something is wrapped for.
type KeyHolder struct {
	Recipient string // age1…
	Comment   string
}

func (e *Entry) appendKeys() (b []byte) {
	if e.Keys == nil {
		return nil
	}
	return append(e.Keys.statement(), e.Keys.MAC[:]...)
}

// mac authenticates the statement as that of one entry: an older one must not be
// brought up again.
func (k *Keys) mac(key *crypt.LogKey, sequence uint64, previous Digest) Digest {
	b := binary.BigEndian.AppendUint64(nil, sequence)
	return key.MAC(append(append(b, previous[:]...), k.statement()...))
}

func (k *Keys) statement() []byte {
	return appendGenerations(wire.AppendString(wire.AppendUvarint(nil, k.Before), string(k.Who)), k.Generations)
}

// stateWho seals who states the keys, since the entry is not, and authenticates all
// of the statement.
func (k *Keys) stateWho(key *crypt.LogKey, generation int, sequence uint64, previous Digest, agent *Agent) {
	k.Who = key.SealObject(generation, LogKey(sequence), agent.append())
	k.MAC = k.mac(key, sequence, previous)
}

// openWho returns who has stated the keys, or nil if that is not to be told.
func (k *Keys) openWho(key *crypt.LogKey, sequence uint64) *Agent {
	b, err := key.OpenObject(LogKey(sequence), k.Who)
	r := wire.NewReader(b)
	agent := parseAgent(r)
	if err != nil || r.Close() != nil {
		return nil
	}
	return agent
}

func appendGenerations(b []byte, list []Generation) []byte {
	b = wire.AppendUvarint(b, uint64(len(list)))
	for i := range list {
		g := &list[i]
		b = wire.AppendString(b, g.Recipient)
		b = wire.AppendString(b, string(g.DataIdentity))
		b = wire.AppendString(b, string(g.LogKey))
		b = append(b, g.Check[:]...)
		b = appendHolders(b, g.Readers)
		b = appendHolders(b, g.Writers)
	}
	return b
}

func appendHolders(b []byte, list []KeyHolder) []byte {
	b = wire.AppendUvarint(b, uint64(len(list)))
	for _, h := range list {
		b = wire.AppendString(b, h.Recipient)
		b = wire.AppendString(b, h.Comment)
	}
	return b
}

func (e *Entry) parseKeys(r *wire.Reader) {
	before, who := r.Uvarint(), []byte(r.String("who", maxWho))
	if list := parseGenerations(r); r.Err() == nil {
		e.Keys = &Keys{Before: before, Who: who, Generations: list}
		copy(e.Keys.MAC[:], r.Bytes(len(e.Keys.MAC)))
	}
}

func parseGenerations(r *wire.Reader) []Generation {
	const least = 3 + len(Digest{}) + 2
	n := count(r, "generations of keys", least)
	if n > maxGenerations {
		r.Failf("%d generations of keys", n)
		return nil
	}
	list := make([]Generation, n)
	for i := range list {
		g := &list[i]
		g.Recipient = parseRecipient(r)
		g.DataIdentity = []byte(r.String("wrapped identity", crypt.MaxWrapped))
		g.LogKey = []byte(r.String("wrapped log key", crypt.MaxWrapped))
		copy(g.Check[:], r.Bytes(len(g.Check)))
		g.Readers = parseHolders(r)
		if g.Writers = parseHolders(r); len(g.Readers) == 0 {
			r.Failf("keys without a reader")
		}
		if r.Err() != nil {
			return nil
		}
	}
	return list
}

// parseRecipient reads "age1…", of which there is one form only.
func parseRecipient(r *wire.Reader) string {
	text := r.String("recipient", MaxComment)
	if key, err := crypt.ParseRecipient(text); r.Err() == nil && (err != nil || key.String() != text) {
		r.Failf("bad recipient")
	}
	return text
}

func parseHolders(r *wire.Reader) []KeyHolder {
	n := r.Count("recipients", 2)
	if n > maxHolders {
		r.Failf("%d recipients", n)
		return nil
	}
	list := make([]KeyHolder, n)
	for i := range list {
		list[i] = KeyHolder{parseRecipient(r), r.String("comment", MaxComment)}
		if i > 0 && list[i].Recipient <= list[i-1].Recipient {
			r.Failf("recipients out of order")
		}
		if !utf8.ValidString(list[i].Comment) {
			r.Failf("a comment that is not UTF-8")
		}
		if r.Err() != nil {
			return nil
		}
	}
	return list
}

// checkKeys says whether a statement may follow those before it. The MAC is the
// keyring's business.
func (s *State) checkKeys(k *Keys) error {
	if k == nil {
		return nil
	}
	if k.Before != s.KeysEntry {
		return fmt.Errorf("the keys before were stated by entry %d, it says %d", s.KeysEntry, k.Before)
	}
	n := len(s.Generations)
	if len(k.Generations) < n || len(k.Generations) > n+1 {
		return fmt.Errorf("%d generations of keys after %d", len(k.Generations), n)
	}
	for i := range s.Generations {
		if was, is := &s.Generations[i], &k.Generations[i]; was.Recipient != is.Recipient || was.Check != is.Check {
			return fmt.Errorf("generation %d of the keys changes its identity", i)
		}
	}
	return nil
}

func (s *State) applyKeys(e *Entry) {
	if e.Keys != nil {
		s.Generations, s.KeysEntry = e.Keys.Generations, e.Sequence
	}
}

// onlyKeys returns an error if an entry that is not sealed has a section that
// must be.
func onlyKeys(body []byte) error {
	for r := wire.NewReader(body); r.Len() > 0; {
		kind := r.Byte()
		r.Bytes(int(r.Max("section length", maxBody)))
		if r.Err() != nil {
			return r.Err()
		}
		if kind != secKeys {
			return fmt.Errorf("section %d is not sealed, although the repository is encrypted", kind)
		}
	}
	return nil
}

var errKeysSealed = errors.New("the keys are sealed, so that nobody could open them")
