package manifest

import "fmt"

// check says whether e may follow the state. It changes nothing.
func (s *State) check(e *Entry) error {
	if err := s.checkPlace(e); err != nil {
		return err
	}
	if err := s.checkSegments(e); err != nil {
		return err
	}
	if err := s.checkTopics(e.Topics); err != nil {
		return err
	}
	next, err := s.checkStreams(e)
	if err != nil {
		return err
	}
	branched := make(map[int]bool)
	for _, n := range e.Streams {
		branched[n.Parent] = true
	}
	for i := range e.Ranges {
		r := &e.Ranges[i]
		if branched[r.Stream] || r.Stream < len(s.Streams) && s.Streams[r.Stream].Child >= 0 {
			return fmt.Errorf("range of stream %d, which has been superseded", r.Stream)
		}
		if err := checkRange(r, next); err != nil {
			return err
		}
	}
	for _, l := range e.LogStarts {
		if l.Stream >= len(next) {
			return fmt.Errorf("log start of stream %d of %d", l.Stream, len(next))
		}
	}
	if err := s.checkTransactions(e, next); err != nil {
		return err
	}
	if err := e.checkClosing(); err != nil {
		return err
	}
	if err := s.checkKeys(e.Keys); err != nil {
		return err
	}
	if err := e.checkSnapshot(); err != nil {
		return err
	}
	if err := s.checkMoves(e); err != nil {
		return err
	}
	if err := s.checkLosses(e); err != nil {
		return err
	}
	if err := e.checkVerification(); err != nil {
		return err
	}
	if err := s.checkPointName(e.Point); err != nil {
		return err
	}
	if err := s.checkPointChanges(e); err != nil {
		return err
	}
	return checkPoint(e.Point, next)
}

// checkPlace says whether e is the entry after the state's.
func (s *State) checkPlace(e *Entry) error {
	if e.Sequence != s.Sequence+1 {
		return fmt.Errorf("sequence number %d after %d", e.Sequence, s.Sequence)
	}
	if e.Previous != s.Head {
		return fmt.Errorf("its predecessor is not entry %d as it is", s.Sequence)
	}
	return nil
}

func (s *State) checkTopics(changes []TopicChange) error {
	fresh := make(map[[16]byte]bool)
	count := len(s.Topics)
	for _, t := range changes {
		switch _, known := s.topicByID[t.ID]; {
		case t.Number > count:
			return fmt.Errorf("topic %d of %d", t.Number, count)
		case t.Number == count && (known || fresh[t.ID]):
			return fmt.Errorf("topic id of %s is known already", t.Name)
		case t.Number == count:
			fresh[t.ID] = true
			count++
		case t.Number >= len(s.Topics) || s.Topics[t.Number].ID != t.ID || s.Topics[t.Number].Name != t.Name:
			return fmt.Errorf("topic %d changes its identity", t.Number)
		case t.Partitions < s.Topics[t.Number].Partitions:
			return fmt.Errorf("topic %d has %d partitions instead of %d", t.Number, t.Partitions, s.Topics[t.Number].Partitions)
		}
	}
	return s.checkNames(changes)
}

// checkNames makes sure that of all topics with one name at most one is not
// gone once the changes have been made.
func (s *State) checkNames(changes []TopicChange) error {
	if len(changes) == 0 {
		return nil
	}
	after := make(map[int]*Topic, len(s.Topics)+len(changes))
	for n := range s.Topics {
		after[n] = &s.Topics[n]
	}
	for i := range changes {
		after[changes[i].Number] = &changes[i].Topic
	}
	there := make(map[string]bool, len(after))
	for _, t := range after {
		if !t.Gone && there[t.Name] {
			return fmt.Errorf("two topics called %s that are not gone", t.Name)
		}
		there[t.Name] = there[t.Name] || !t.Gone
	}
	return nil
}

// checkStreams returns the positions of all streams, new ones included, before
// the entry's ranges.
func (s *State) checkStreams(e *Entry) ([]int64, error) {
	topics := len(s.Topics)
	ids := make(map[int][16]byte)
	for _, t := range e.Topics {
		topics = max(topics, t.Number+1)
		ids[t.Number] = t.ID
	}
	next := make([]int64, len(s.Streams), len(s.Streams)+len(e.Streams))
	for i := range s.Streams {
		next[i] = s.Streams[i].Next
	}
	fresh := make(map[StreamKey]bool)
	for _, n := range e.Streams {
		if n.Topic >= topics {
			return nil, fmt.Errorf("stream of topic %d of %d", n.Topic, topics)
		}
		id, ok := ids[n.Topic]
		if !ok {
			id = s.Topics[n.Topic].ID
		}
		key := StreamKey{id, n.Partition}
		current, known := s.current[key]
		if known != (n.Parent >= 0) || known && current != n.Parent || fresh[key] {
			return nil, fmt.Errorf("stream of topic %d partition %d with parent %d", n.Topic, n.Partition, n.Parent)
		}
		fresh[key] = true
		next = append(next, n.First)
	}
	return next, nil
}

func checkRange(r *Range, next []int64) error {
	if r.Stream >= len(next) {
		return fmt.Errorf("range of stream %d of %d", r.Stream, len(next))
	}
	for _, span := range r.Spans {
		if span.Offsets > maxOffset-next[r.Stream] {
			return fmt.Errorf("range of stream %d ends beyond the last offset", r.Stream)
		}
		next[r.Stream] += span.Offsets
	}
	return nil
}

func checkPoint(p *Point, next []int64) error {
	if p == nil {
		return nil
	}
	for _, x := range p.Exceptions {
		if x.Stream >= len(next) || x.Behind > next[x.Stream] {
			return fmt.Errorf("cut of stream %d, %d behind", x.Stream, x.Behind)
		}
	}
	return nil
}
