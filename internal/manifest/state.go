package manifest

// State is what the entries of the log add up to. It is not safe for
// concurrent use while a Log changes it.
type State struct {
	Sequence uint64 // of the last entry applied, 0 for none
	Head     Digest // SHA-256 of that entry's object, or of the descriptor
	signed   bool   // that entry has a signature
	Time     int64  // ms since 1970, by the clock of that entry's writer

	Topics   []Topic  // by topic number
	Lives    []Life   // by topic number
	Streams  []Stream // by stream number
	Gaps     []Gap    // of all streams, in the order of the log
	Groups   map[string]*Group
	Points   []PointRef // ascending, without deleted ones
	Agent    *Agent     // of the last run that captured and stated one
	Capturer ID         // the writer of the last entry that captured something
	// Transactions are those that are open at the positions, and how a point of the
	// last entry ends them. Read only.
	Transactions []Transaction
	Closing      *Closing // of the transactions at the newest point, or nil if its writer did not say it

	Metadata  map[string]Metadata // by kind
	Verified  [levels]Verified    // by level
	Promotion *Promotion          // the last one, or nil

	// Generations are the keys of an encrypted repository, by number, and KeysEntry
	// the entry that stated them last. Read only.
	Generations []Generation
	KeysEntry   uint64

	Segments    SegmentSet    // that entries name, but for those whose objects are deleted
	Removals    []Removal     // of segments whose objects are not deleted yet, the oldest first
	LastRemoval uint64        // the last entry that removed segments, 0 for none
	Moved       uint64        // the last entry that moved data or gave some up, 0 for none
	Lost        []Lost        // in force, by stream and offset. Read only
	Fenced      map[ID]uint64 // writers that may not append any more, and the entry that says so

	SegmentCount int64 // those that may be read
	SegmentBytes int64
	RemovedBytes int64 // of the objects that are removed and not deleted yet

	Newest   int64        // ms since 1970: the latest time of all entries, by the clocks of their writers
	Snapshot *SnapshotRef // the newest one that an entry has stated, or nil

	Lowered []Lowered // log starts, by stream
	Growths []Growth  // of topics, in the order of the log; those from before an early snapshot are not known

	stretches stretches
	early     bool       // it began at a snapshot that did not have everything yet
	moved     moved      // where data is, if somebody asks
	pending   SegmentSet // of all Removals
	topicByID map[[16]byte]int
	current   map[StreamKey]int // the stream that has no child yet
	open      map[int]int       // by stream: its last gap, as an index into Gaps, while no record has followed
}

// StreamKey names a partition of a topic incarnation.
type StreamKey struct {
	TopicID   [16]byte
	Partition int32
}

// Stream is one partition of one topic incarnation, on one branch.
type Stream struct {
	Topic       int // number
	Partition   int32
	Parent      int   // number of the stream it branches from, or -1
	Child       int   // number of the stream that took over, or -1
	First       int64 // first offset it covers
	Next        int64 // position: the next offset that no entry covers
	LogStart    int64 // of the source, as last seen; at least First of the first branch
	LeaderEpoch int32 // of the last batch, -1 for none
	Records     int64 // committed so far, by batch headers
	Newest      int64 // ms since 1970: the newest timestamp of its records, 0 for none above 0
}

// RestoreGroups is what the names of the groups begin with in which restores keep
// their state on the target, of whatever repository. It is of no use anywhere
// else, so that they belong into no recovery point.
const RestoreGroups = "offsite-restore-"

// PointRef names a recovery point: the entry that holds it.
type PointRef struct {
	Sequence uint64
	Time     int64 // ms since 1970
	Name     string
	Pinned   bool
	Held     bool // under a legal hold
}

// Protected says whether the point must not be deleted.
func (p PointRef) Protected() bool { return p.Pinned || p.Held }

// newState returns the state of an empty log.
func newState(descriptor Digest) *State {
	return &State{
		Head:      descriptor,
		Groups:    make(map[string]*Group),
		Metadata:  make(map[string]Metadata),
		Segments:  make(SegmentSet),
		Fenced:    make(map[ID]uint64),
		moved:     moved{since: NewLayout(nil)},
		pending:   make(SegmentSet),
		topicByID: make(map[[16]byte]int),
		current:   make(map[StreamKey]int),
		open:      make(map[int]int),
	}
}

// TopicNumber returns the number of the topic with the given id.
func (s *State) TopicNumber(id [16]byte) (int, bool) {
	n, ok := s.topicByID[id]
	return n, ok
}

// Current returns the number of the stream that captures the partition now.
func (s *State) Current(k StreamKey) (int, bool) {
	n, ok := s.current[k]
	return n, ok
}

// Start returns the offset at which a range of the last entry begins.
func (s *State) Start(r *Range) int64 {
	at := s.Streams[r.Stream].Next
	for i := range r.Spans {
		at -= r.Spans[i].Offsets
	}
	return at
}

// Key names the partition that a stream belongs to.
func (s *State) Key(stream int) StreamKey {
	st := &s.Streams[stream]
	return StreamKey{s.Topics[st.Topic].ID, st.Partition}
}

// apply adds an entry that check has accepted.
func (s *State) apply(e *Entry, digest Digest) {
	s.applyLives(e)
	grown := s.growing(e)
	for _, t := range e.Topics {
		if t.Number == len(s.Topics) {
			s.Topics = append(s.Topics, Topic{})
			s.topicByID[t.ID] = t.Number
		}
		s.Topics[t.Number] = t.Topic
	}
	for _, n := range e.Streams {
		s.addStream(n)
	}
	s.applySegments(e)
	for i := range e.Ranges {
		r := &e.Ranges[i]
		st := &s.Streams[r.Stream]
		for j := range r.Spans {
			s.applySpan(e, r.Stream, &r.Spans[j])
			st.Next += r.Spans[j].Offsets
			st.Records += r.Spans[j].Records
		}
		if r.EpochGiven {
			st.LeaderEpoch = r.LeaderEpoch
		}
	}
	s.noteLowered(e)
	for _, l := range e.LogStarts {
		s.Streams[l.Stream].LogStart = l.Offset
	}
	for i := range e.Groups {
		s.applyGroup(&e.Groups[i])
	}
	if e.Point != nil {
		s.Points = append(s.Points, PointRef{Sequence: e.Sequence, Time: e.Point.Time, Name: e.Point.Name})
	}
	s.applyPointChanges(e.PointChanges)
	s.applyMetadata(e)
	s.applyMoves(e)
	s.applyLosses(e)
	s.applyMoved(e)
	s.grow(grown)
	s.applyStretches(e)
	s.applyKeys(e)
	s.applyVerification(e)
	s.applyPromotion(e)
	if e.Agent != nil && e.captures() {
		s.Agent = e.Agent
	}
	if e.captures() {
		s.Capturer = e.Writer
	}
	if e.Point != nil {
		s.Closing = e.Closing
	}
	if len(e.Ranges) > 0 || e.Point != nil {
		s.Transactions = e.Transactions
	}
	if e.Snapshot != nil {
		s.Snapshot = e.Snapshot
	}
	s.Newest = max(s.Newest, e.Time)
	s.Sequence, s.Head, s.Time = e.Sequence, digest, e.Time
}

func (s *State) addStream(n NewStream) {
	st := Stream{Topic: n.Topic, Partition: n.Partition, Parent: n.Parent, Child: -1, First: n.First, Next: n.First, LogStart: n.First, LeaderEpoch: -1}
	if n.Parent >= 0 {
		s.Streams[n.Parent].Child = len(s.Streams)
		st.LogStart = s.Streams[n.Parent].LogStart
	}
	s.current[StreamKey{s.Topics[n.Topic].ID, n.Partition}] = len(s.Streams)
	s.Streams = append(s.Streams, st)
}
