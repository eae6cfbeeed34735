package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// A restore keeps its state on the target, as the committed offsets of a group
// of its own: for each target partition the offset at which its records begin,
// with metadata that says what is being restored under which producer id. So a
// killed restore can go on from anywhere, without a disk of its own and without
// the right to write to the repository; and Kafka drops the state with the topic.

// producerID is the idempotent identity under which a topic is restored.
type producerID struct {
	id    int64
	epoch int16
}

// phase is how far the restore of a topic has come.
type phase string

const (
	phaseRunning phase = "running" // records are on their way
	phaseFilled  phase = "filled"  // all are there, and applications may write; configs and groups are to be set
	phaseDone    phase = "done"
)

// phases are all of them, in the order in which they come.
var phases = []phase{phaseRunning, phaseFilled, phaseDone}

// lesser returns the phase that comes before the other.
func lesser(a, b phase) phase { return phases[min(slices.Index(phases, a), slices.Index(phases, b))] }

// topicState is what the target remembers of the restore of one topic.
type topicState struct {
	point    uint64
	source   kafka.TopicID
	target   kafka.TopicID
	producer producerID
	buildTo  int
	fit      int    // see TopicPlan
	bounds   string // see Plan.bounds
	accepted string // see Plan.accepted
	append   bool   // the topic held records before: its configs are not ours
	phase    phase
	starts   map[int32]int64
}

func (s *topicState) metadata() string {
	optional := ""
	if s.fit > 0 {
		optional += fitField + strconv.Itoa(s.fit)
	}
	if s.bounds != "" {
		optional += boundsField + s.bounds
	}
	if s.accepted != "" {
		optional += acceptedField + s.accepted
	}
	return fmt.Sprintf("offsite engine=%d point=%d source=%s target=%s producer=%d/%d build=%d append=%t%s phase=%s",
		engineVersion, s.point, s.source, s.target, s.producer.id, s.producer.epoch, s.buildTo, s.append, optional, s.phase)
}

// The fields that only some restores have are preceded by these.
const (
	fitField      = " fit="
	boundsField   = " bounds="
	acceptedField = " accepted="
)

// cutField takes a field out of a text.
func cutField(text, field string) (value, rest string) {
	before, after, ok := strings.Cut(text, field)
	if !ok {
		return "", text
	}
	value, after, _ = strings.Cut(after, " ")
	return value, before + " " + after
}

// errForeignState: the group's metadata is not ours, or another version's.
var errForeignState = errors.New("not the state of a restore by this version")

func parseState(metadata string) (*topicState, error) {
	var s topicState
	var engine int
	var source, target string
	fit, rest := cutField(metadata, fitField)
	s.fit, _ = strconv.Atoi(fit) // what is not a number is found below
	s.bounds, rest = cutField(rest, boundsField)
	s.accepted, rest = cutField(rest, acceptedField)
	n, err := fmt.Sscanf(rest, "offsite engine=%d point=%d source=%s target=%s producer=%d/%d build=%d append=%t phase=%s",
		&engine, &s.point, &source, &target, &s.producer.id, &s.producer.epoch, &s.buildTo, &s.append, (*string)(&s.phase))
	if err != nil || n != 9 || engine != engineVersion {
		return nil, fmt.Errorf("%w: %q", errForeignState, metadata)
	}
	if s.source, err = kafka.ParseTopicID(source); err != nil {
		return nil, fmt.Errorf("%w: %w", errForeignState, err)
	}
	if s.target, err = kafka.ParseTopicID(target); err != nil {
		return nil, fmt.Errorf("%w: %w", errForeignState, err)
	}
	if s.metadata() != metadata || !slices.Contains(phases, s.phase) {
		return nil, fmt.Errorf("%w: %q", errForeignState, metadata)
	}
	s.starts = make(map[int32]int64)
	return &s, nil
}

// restoreState is the state of all restores of one repository into one cluster.
type restoreState struct {
	cluster *kafka.Cluster
	group   string
	topics  map[string]*topicState // by target name
}

// StateGroup is the name of the group that holds the state of restores of a repository.
func StateGroup(id manifest.ID) string { return manifest.RestoreGroups + id.String()[:16] }

// readState reads what the target remembers. It is empty with an error.
func readState(ctx context.Context, cluster *kafka.Cluster, repo manifest.ID) (*restoreState, error) {
	s := &restoreState{cluster: cluster, group: StateGroup(repo), topics: make(map[string]*topicState)}
	groups, err := cluster.GroupOffsets(ctx, []string{s.group})
	if err != nil {
		return s, fmt.Errorf("read the state of earlier restores: %w", err)
	}
	for _, o := range groups[s.group] {
		if _, ok := s.topics[o.Topic]; !ok {
			t, err := parseState(o.Metadata)
			if err != nil {
				return nil, fmt.Errorf("group %s, topic %s: %w", s.group, o.Topic, err)
			}
			s.topics[o.Topic] = t
		}
		t := s.topics[o.Topic]
		if o.Metadata != t.metadata() {
			// Written in one request, but a request is not atomic: the lesser phase counts.
			other, err := parseState(o.Metadata)
			if err != nil || other.point != t.point || other.producer != t.producer || other.target != t.target || other.bounds != t.bounds || other.fit != t.fit {
				return nil, fmt.Errorf("group %s, topic %s: its partitions contradict each other", s.group, o.Topic)
			}
			t.phase = lesser(t.phase, other.phase)
		}
		t.starts[o.Partition] = o.Offset
	}
	return s, nil
}

// unfinished returns the point of the restores of the given targets that were
// interrupted, or 0. ErrRefused if there are several.
func (s *restoreState) unfinished(targets []string) (uint64, error) {
	points := make(map[uint64]string)
	for _, name := range targets {
		if t := s.topics[name]; t != nil && t.phase != phaseDone {
			points[t.point] = name
		}
	}
	if len(points) > 1 {
		ids := slices.Sorted(maps.Keys(points))
		return 0, fmt.Errorf("%w: topics %s and %s were being restored to different points, %d and %d: finish each with --topics and --at, or with the overrides that they had",
			ErrRefused, points[ids[0]], points[ids[1]], ids[0], ids[1])
	}
	for id := range points {
		return id, nil
	}
	return 0, nil
}

// complete returns the point to which all of the given targets that have a state
// are completely restored, or 0.
func (s *restoreState) complete(targets []string) (point uint64) {
	for _, name := range targets {
		t := s.topics[name]
		if t == nil {
			continue
		}
		if t.phase != phaseDone || point != 0 && t.point != point {
			return 0
		}
		point = t.point
	}
	return point
}

// save writes the state of topics and reads it back.
func (s *restoreState) save(ctx context.Context, p *Plan, topics []*TopicPlan, ph phase) error {
	var offsets []kafka.GroupOffset
	for _, t := range topics {
		st := &topicState{
			point: t.From.Point.Sequence, source: t.Source.ID, target: t.id, producer: t.producer, buildTo: t.buildTo, fit: t.fit, append: t.append, phase: ph, bounds: p.bounds(t), accepted: p.accepted(t),
		}
		for i, start := range t.starts {
			offsets = append(offsets, kafka.GroupOffset{Topic: t.Target, Partition: int32(i), Offset: start, Metadata: st.metadata()})
		}
	}
	if err := s.cluster.CommitOffsets(ctx, s.group, offsets); err != nil {
		return fmt.Errorf("save the state of the restore in group %s: %w", s.group, err)
	}
	back, err := readState(ctx, s.cluster, p.Snapshot.Repository.ID)
	if err != nil {
		return err
	}
	for _, t := range topics {
		st := back.topics[t.Target]
		if st == nil || st.phase != ph || st.producer != t.producer || len(st.starts) != len(t.starts) {
			return fmt.Errorf("the state of the restore of %s in group %s did not come back as it was saved", t.Target, s.group)
		}
	}
	s.topics = back.topics
	return nil
}

// buildToFor spreads a fixed amount of memory over the batches that are being
// built, one for each partition.
func buildToFor(tracks int) int {
	const total, least = 48 << 20, 16 << 10
	return min(buildTo, max(least, total/max(tracks, 1)))
}

// sequence is the sequence number of the record with a relative target offset.
func sequence(rel int64) int32 { return int32(rel & math.MaxInt32) }
