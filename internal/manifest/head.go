package manifest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrHead says that the log does not have the entry of a head that was kept elsewhere. It
// has been cut off, or another one is in its place.
var ErrHead = errors.New("the log is not the one whose head was kept")

// Head names an entry of the log with all that comes before it, since each entry
// holds the digest of the one before. Kept elsewhere, it proves later that nobody
// has taken anything away from them, or put others in their place.
type Head struct {
	Sequence uint64 // 0: of the descriptor
	Digest   Digest
}

func (h Head) String() string {
	return fmt.Sprintf("%d:%s", h.Sequence, h.Digest)
}

// ParseHead is the inverse of String.
func ParseHead(text string) (Head, error) {
	seq, digest, _ := strings.Cut(text, ":")
	n, err := strconv.ParseUint(seq, 10, 64)
	b, herr := hex.DecodeString(digest)
	if err != nil || herr != nil || len(b) != len(Digest{}) {
		return Head{}, fmt.Errorf("%q is not a head, SEQ:SHA256, as \"backupd audit\" prints it", text)
	}
	return Head{n, Digest(b)}, nil
}

// HeadNow returns the head of the log that the state is of.
func (s *State) HeadNow() Head { return Head{s.Sequence, s.Head} }

// Check returns ErrHead if the state is of the head's entry, but of another log.
func (h Head) Check(s *State) error {
	if s.Sequence == h.Sequence && s.Head != h.Digest {
		return fmt.Errorf("%w: entry %d is %s", ErrHead, h.Sequence, s.HeadNow())
	}
	return nil
}
