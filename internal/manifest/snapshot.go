package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/offsite-kafka/offsite/internal/wire"
)

const snapshotMagic = "OFSNAP\x00\x01"

// SnapshotPrefix is what the keys of all log snapshots begin with.
const SnapshotPrefix = "snapshot/"

// SnapshotKey is the key of the snapshot after the entry with the given
// sequence number.
func SnapshotKey(seq uint64) string { return SnapshotPrefix + LogKey(seq)[len("log/"):] }

// ParseSnapshotKey is the inverse of SnapshotKey. Keys that no snapshot can have
// are not ok.
func ParseSnapshotKey(key string) (uint64, bool) {
	name, ok := bytes.CutPrefix([]byte(key), []byte(SnapshotPrefix))
	if !ok {
		return 0, false
	}
	return parseLogKey("log/" + string(name))
}

// encodeSnapshot returns the object of the snapshot of the state. What it is
// compressed to has been seen to come back.
func (s *State) encodeSnapshot(p *packer, repo, writer ID) ([]byte, error) {
	body := s.appendSnapshot(nil)
	if len(body) > maxBody {
		return nil, fmt.Errorf("a snapshot of %d bytes is above the limit of %d", len(body), maxBody)
	}
	b := append(make([]byte, 0, entryHeader), snapshotMagic...)
	b = binary.BigEndian.AppendUint64(b, s.Sequence)
	b = append(b, s.Head[:]...)
	b = append(b, repo[:]...)
	b = append(b, writer[:]...)
	b, err := p.frame(binary.BigEndian.AppendUint64(b, uint64(s.Time)), body, 0, nil)
	if err != nil {
		return nil, err
	}
	back, err := unpackBody(b)
	if err == nil && !bytes.Equal(back, body) {
		err = errors.New("it does not decode to what was encoded")
	}
	if err != nil {
		return nil, fmt.Errorf("manifest: internal error: refusing to write the snapshot after log entry %d: %w", s.Sequence, err)
	}
	return b, nil
}

// decodeSnapshot returns the state that a snapshot's object holds. Whether it is
// that of the log, only its digest tells.
func decodeSnapshot(b []byte, repo ID) (*State, error) {
	if len(b) < entryHeader+sha256.Size {
		return nil, fmt.Errorf("cut short at %d bytes", len(b))
	}
	if string(b[:6]) == snapshotMagic[:6] && string(b[6:8]) != snapshotMagic[6:] && intact(b) {
		return nil, fmt.Errorf("%w: snapshot of version %d", ErrVersion, binary.BigEndian.Uint16(b[6:]))
	}
	if string(b[:8]) != snapshotMagic {
		return nil, errors.New("bad magic")
	}
	if !intact(b) {
		return nil, errors.New("its content does not match its SHA-256")
	}
	if ID(b[48:64]) != repo {
		return nil, fmt.Errorf("it is of repository %s", ID(b[48:64]))
	}
	body, err := unpackBody(b)
	if err != nil {
		return nil, err
	}
	s := newState(Digest(b[16:48]))
	s.Sequence, s.Time = binary.BigEndian.Uint64(b[8:]), int64(binary.BigEndian.Uint64(b[80:]))
	return s, s.parseSnapshot(body)
}

// everything is the one entry that states all that is in force, as far as
// entries can state it.
func (s *State) everything() *Entry {
	e := &Entry{Sequence: s.Sequence, Agent: s.Agent, Transactions: s.Transactions, Closing: s.Closing, Snapshot: s.Snapshot, Promotion: s.Promotion}
	for n := range s.Topics {
		e.Topics = append(e.Topics, TopicChange{n, s.Topics[n]})
	}
	for i := range s.Streams {
		st := &s.Streams[i]
		e.Streams = append(e.Streams, NewStream{st.Topic, st.Partition, st.Parent, st.First})
	}
	for _, id := range slices.Sorted(maps.Keys(s.Groups)) {
		g := s.Groups[id]
		c := GroupChange{ID: id, Type: g.Type, ProtocolType: g.ProtocolType}
		for _, k := range g.SortedOffsets() {
			o := g.Offsets[k]
			c.Offsets = append(c.Offsets, OffsetChange{k.Topic, k.Partition, true, o.Offset, o.Epoch, o.Metadata})
		}
		e.Groups = append(e.Groups, c)
	}
	for _, kind := range slices.Sorted(maps.Keys(s.Metadata)) {
		e.Metadata = append(e.Metadata, MetadataChange{kind, s.Metadata[kind].Content})
	}
	return e
}

func (s *State) appendSnapshot(b []byte) []byte {
	e := s.everything()
	b = section(b, secAgent, e.Agent.append())
	b = section(b, secTopics, e.appendTopics())
	b = section(b, secStreams, e.appendStreams())
	b = section(b, secGroups, e.appendGroups())
	b = section(b, secTransactions, e.appendTransactions())
	b = section(b, secMetadata, e.appendMetadata())
	b = section(b, secPositions, s.appendPositions())
	b = section(b, secAllPoints, s.appendAllPoints())
	b = section(b, secTotals, s.appendTotals())
	b = section(b, secLives, s.appendLives())
	b = section(b, secMetadataTimes, s.appendMetadataTimes(e.Metadata))
	b = section(b, secGaps, s.appendGaps())
	b = section(b, secSegmentSet, s.appendSegmentSet())
	b = section(b, secPending, s.appendPending())
	b = section(b, secFenced, s.appendFenced())
	b = section(b, secGenerations, s.appendGenerations())
	b = section(b, secVerified, s.appendVerified())
	b = section(b, secLost, s.appendLost())
	if !s.early {
		b = section(b, secMoved, s.appendMoved())
		b = section(b, secGrowths, s.appendGrowths())
	}
	b = section(b, secKnown, s.appendKnown())
	b = section(b, secStretches, s.appendStretches())
	b = section(b, secCircumstances, s.appendCircumstances())
	b = section(b, secClosing, e.appendClosing())
	b = section(b, secSnapshot, e.Snapshot.append())
	return section(b, secPromotion, e.appendPromotion())
}

// parseSnapshot fills in a state that knows its sequence number, head and time.
func (s *State) parseSnapshot(body []byte) error {
	e := &Entry{Sequence: s.Sequence}
	seen := make(map[byte]bool)
	err := parseSections(body, func(kind byte, r *wire.Reader) error {
		seen[kind] = true
		switch kind {
		case secPositions:
			s.parsePositions(r)
		case secAllPoints:
			s.parseAllPoints(r)
		case secTotals:
			s.parseTotals(r)
		case secLives:
			s.parseLives(r)
		case secMetadataTimes:
			s.parseMetadataTimes(r, e.Metadata)
		case secGaps:
			s.parseGaps(r)
		case secSegmentSet:
			s.Segments = parseSet(r)
		case secPending:
			s.parsePending(r)
		case secFenced:
			s.parseFenced(r)
		case secGenerations:
			s.parseGenerations(r)
		case secVerified:
			s.parseVerified(r)
		case secLost:
			s.parseLost(r)
		case secMoved:
			s.parseMoved(r)
		case secGrowths:
			s.parseGrowths(r)
		case secKnown:
			s.parseKnown(r)
		case secStretches:
			s.parseStretches(r)
		case secCircumstances:
			s.parseCircumstances(r)
		case secTopics, secStreams, secGroups, secTransactions, secMetadata, secAgent:
			return s.begin(e, kind, r)
		case secSegments, secRanges, secLogStarts, secPoint, secPoints, secRemovals, secMoves, secFences, secDeletions, secKeys, secLosses:
			return fmt.Errorf("%w: not in a snapshot", wire.ErrMalformed)
		default:
			return e.parseSection(kind, r)
		}
		return r.Close()
	})
	if err != nil {
		return err
	}
	s.Agent, s.Transactions, s.Closing, s.Snapshot, s.Promotion = e.Agent, e.Transactions, e.Closing, e.Snapshot, e.Promotion
	return s.checkSnapshot(seen)
}

// begin takes in a section that is like that of an entry which states all that
// is in force.
func (s *State) begin(e *Entry, kind byte, r *wire.Reader) error {
	if err := e.parseSection(kind, r); err != nil {
		return err
	}
	switch kind {
	case secTopics:
		if err := s.checkTopics(e.Topics); err != nil {
			return err
		}
		for i, t := range e.Topics {
			s.Topics = append(s.Topics, t.Topic)
			s.topicByID[t.ID] = i
		}
	case secStreams:
		for i, n := range e.Streams {
			if n.Topic >= len(s.Topics) || n.Parent >= i {
				return fmt.Errorf("%w: stream %d of topic %d with parent %d", wire.ErrMalformed, i, n.Topic, n.Parent)
			}
			current, known := s.current[StreamKey{s.Topics[n.Topic].ID, n.Partition}]
			if known != (n.Parent >= 0) || known && current != n.Parent {
				return fmt.Errorf("%w: stream %d of topic %d partition %d with parent %d", wire.ErrMalformed, i, n.Topic, n.Partition, n.Parent)
			}
			s.addStream(n)
		}
	case secGroups:
		for i := range e.Groups {
			g := &e.Groups[i]
			if g.Gone || slices.ContainsFunc(g.Offsets, func(o OffsetChange) bool { return !o.Committed }) {
				return fmt.Errorf("%w: group %s has what is gone", wire.ErrMalformed, g.ID)
			}
			s.applyGroup(g)
		}
	case secMetadata:
		s.applyMetadata(e)
	}
	return nil
}

// checkSnapshot makes sure that nothing is left out, and that everything is of
// something that is there.
func (s *State) checkSnapshot(seen map[byte]bool) error {
	for with, without := range map[byte]byte{secStreams: secPositions, secTopics: secLives, secMetadata: secMetadataTimes} {
		if seen[with] != seen[without] {
			return fmt.Errorf("%w: section %d and not section %d", wire.ErrMalformed, with, without)
		}
	}
	if !seen[secTotals] {
		return fmt.Errorf("%w: no section %d", wire.ErrMalformed, secTotals)
	}
	s.early = !seen[secGrowths]
	if s.early && seen[secMoved] {
		return fmt.Errorf("%w: section %d and not section %d", wire.ErrMalformed, secMoved, secGrowths)
	}
	if s.Moved > 0 && !seen[secMoved] {
		s.moved = moved{}
	}
	s.stretches.unknown = !seen[secStretches]
	if seen[secCircumstances] != (seen[secStretches] && len(s.Removals) > 0) {
		return fmt.Errorf("%w: section %d, or none", wire.ErrMalformed, secCircumstances)
	}
	next := make([]int64, len(s.Streams))
	for i := range s.Streams {
		next[i] = s.Streams[i].Next
	}
	all := &Entry{Sequence: s.Sequence, Transactions: s.Transactions, Snapshot: s.Snapshot, Point: &Point{}}
	if err := s.checkTransactions(all, next); err != nil {
		return err
	}
	for i := range s.Gaps {
		if g := &s.Gaps[i]; g.To > next[g.Stream] {
			return fmt.Errorf("%w: a gap behind the position of stream %d", wire.ErrMalformed, g.Stream)
		}
	}
	return nil
}
