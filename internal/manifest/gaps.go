package manifest

// Gap are offsets of a stream that the source no longer had when they were to be
// read.
type Gap struct {
	Entry    uint64 // that states it
	Time     int64  // ms since 1970, by the clock of that entry's writer: when it was noticed
	Stream   int
	From, To int64 // offsets [From, To)
	Reason   GapReason
	// OldestLost and NewestLost are what is known of the timestamps of its
	// records: the newest one before it and the oldest one after it, in ms since
	// 1970; 0 where nothing is known.
	OldestLost, NewestLost int64
}

// Life says when a topic was in the log.
type Life struct {
	Since Moment // first stated
	Gone  Moment // stated last that it is gone; zero if it is not
}

// Moment is an entry of the log.
type Moment struct {
	Entry uint64
	Time  int64 // ms since 1970, by the clock of its writer
}

// applyLives is called before the topics are applied.
func (s *State) applyLives(e *Entry) {
	now := Moment{e.Sequence, e.Time}
	for _, t := range e.Topics {
		if t.Number == len(s.Lives) {
			s.Lives = append(s.Lives, Life{Since: now})
		}
		l := &s.Lives[t.Number]
		if l.Gone = (Moment{}); t.Gone {
			l.Gone = now
		}
	}
}

// applySpan is called before the stream advances by it.
func (s *State) applySpan(e *Entry, stream int, span *Span) {
	st := &s.Streams[stream]
	switch {
	case span.Gap:
		s.open[stream] = len(s.Gaps)
		s.Gaps = append(s.Gaps, Gap{
			Entry: e.Sequence, Time: e.Time, Stream: stream, From: st.Next, To: st.Next + span.Offsets, Reason: span.Reason, OldestLost: st.Newest,
		})
	case span.Records > 0:
		if i, ok := s.open[stream]; ok {
			s.Gaps[i].NewestLost = span.MinTimestamp
			delete(s.open, stream)
		}
		st.Newest = max(st.Newest, span.MaxTimestamp)
	}
}
