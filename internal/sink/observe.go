package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"golang.org/x/sync/errgroup"
)

// observer watches what is not in the data: topics, leaders, configs, groups,
// high watermarks. It begins recovery points and says when they are complete.
type observer struct {
	ses     *session
	topics  map[kafka.TopicID]*observed
	resume  map[manifest.StreamKey]manifest.Stream // positions in the log when the session began
	known   map[string]bool                        // groups as of the last recovery point
	shares  map[string]bool                        // share groups, likewise
	hanging map[string]int64                       // transactional ids that were said to hang, and since when
	txnIDs  map[string]int64                       // see markReader
	dropped map[kafka.TopicID]bool                 // topics that went away during the session
	graves  []manifest.Topic                       // what they were: they may have data that is not committed yet
	kinds   *kinds                                 // the cluster's metadata besides topics and groups

	logTried   bool         // the log of groups may be read
	logs       []*logReader // partitions of it that are to be read again before their capture goes on
	admitted   bool         // the cluster has had topics that are selected
	deselected []string     // topics that the repository has and that are not selected any more
	compared   bool         // it was said which patterns match nothing

	next    *cut                         // the point that is being completed, or nil
	targets map[manifest.StreamKey]int64 // what it waits for
	total   int64                        // offsets it waited for at first
	pointed bool                         // one has been handed on
	pace    pace

	complaint string    // why there is no recovery point, as it was said; "" if there is
	heldUp    time.Time // since when

	mu   sync.Mutex
	list []manifest.Topic // for the committer
}

// observed is a topic that is being captured.
type observed struct {
	topic   kafka.Topic
	configs []kafka.ConfigEntry
	missing int // lookups in a row that did not show it
	least   int // partitions that it has at least
}

// goneAfter is how many lookups in a row must miss a topic: metadata of a
// broker that has just started can be behind.
const goneAfter = 2

func newObserver(ses *session) *observer {
	o := &observer{
		ses: ses, topics: make(map[kafka.TopicID]*observed),
		resume: make(map[manifest.StreamKey]manifest.Stream), dropped: make(map[kafka.TopicID]bool), hanging: make(map[string]int64), known: make(map[string]bool),
		txnIDs: make(map[string]int64),
		shares: make(map[string]bool),
	}
	state := ses.state
	o.kinds = newKinds(ses)
	for n := range state.Streams {
		if st := &state.Streams[n]; st.Child < 0 {
			o.resume[state.Key(n)] = *st
		}
	}
	for id, g := range ses.state.Groups {
		if g.Type == kafka.ShareGroup {
			o.shares[id] = true
		} else {
			o.known[id] = true
		}
	}
	return o
}

// begin looks at the cluster for the first time. It registers no stream yet.
func (o *observer) begin(ctx context.Context) error {
	if err := o.checkLog(ctx); err != nil {
		return err
	}
	found, err := o.lookUp(ctx)
	if err != nil {
		return err
	}
	state := o.ses.state
	for n := range state.Topics {
		t := &state.Topics[n]
		switch {
		case t.Gone:
		case t.Name == kafka.GroupLogTopic && !o.logTried: // polled from now on
		case t.Name == kafka.GroupLogTopic || o.ses.Config.Topics.Match(t.Name):
			o.topics[t.ID] = &observed{topic: kafka.Topic{Name: t.Name, ID: t.ID}, configs: entries(t.Configs), missing: goneAfter - 1, least: int(t.Partitions)}
		default:
			o.deselected = append(o.deselected, t.Name)
		}
	}
	if err := o.checkLiterals(ctx, found); err != nil {
		return err
	}
	if err := o.checkReadable(ctx, found); err != nil {
		return err
	}
	if err := o.admit(ctx, found); o.ses.once || !errors.Is(err, ErrNoTopics) {
		return err
	}
	return nil // watch says so until there are some
}

func entries(configs []manifest.Config) []kafka.ConfigEntry {
	list := make([]kafka.ConfigEntry, len(configs))
	for i, c := range configs {
		list[i] = kafka.ConfigEntry{Name: c.Name, Value: c.Value}
	}
	return list
}

// lookUp returns the topics of the cluster that are captured: the selected ones,
// and the log of groups.
func (o *observer) lookUp(ctx context.Context) ([]kafka.Topic, error) {
	end := o.ses.listen()
	all, err := o.ses.Cluster.Topics(ctx, nil)
	end(err)
	if err != nil {
		return nil, fmt.Errorf("look up topics: %w", err)
	}
	o.noteUnmatched(all)
	var found []kafka.Topic
	for _, t := range all {
		captured, err := o.captures(ctx, &t)
		if err != nil {
			return nil, err
		}
		if captured {
			found = append(found, t)
		}
	}
	return found, nil
}

// checkLiterals makes sure that what was asked for by name is there. A topic
// that the repository holds may have been deleted since.
func (o *observer) checkLiterals(ctx context.Context, found []kafka.Topic) error {
	missing := slices.DeleteFunc(o.ses.Config.Topics.Literals(), func(name string) bool {
		return name != kafka.GroupLogTopic && (slices.ContainsFunc(found, func(t kafka.Topic) bool { return t.Name == name }) ||
			slices.ContainsFunc(o.ses.state.Topics, func(t manifest.Topic) bool { return t.Name == name }))
	})
	if len(missing) == 0 {
		return nil
	}
	answers, err := o.ses.Cluster.Topics(ctx, missing)
	if err != nil {
		return fmt.Errorf("look up topics: %w", err)
	}
	var errs []error
	for _, t := range answers {
		switch {
		case t.Internal:
			errs = append(errs, unreadable(t.Name, errors.New("it is internal to Kafka; its content is captured by other means")))
		case errors.Is(t.Err, kafka.ErrUnknownTopic):
			errs = append(errs, unreadable(t.Name, errors.New("there is no such topic: check its name, or ask for it by a pattern")))
		case t.Err != nil:
			errs = append(errs, unreadable(t.Name, t.Err))
		}
	}
	return errors.Join(errs...)
}

// checkReadable asks for a byte of each topic, so that a topic that must not be
// read is named at once and not when there is something to lose.
func (o *observer) checkReadable(ctx context.Context, found []kafka.Topic) error {
	fetcher, err := o.ses.Cluster.NewFetcher()
	if err != nil {
		return err
	}
	defer fetcher.Close()
	byLeader := make(map[int32][]kafka.FetchPartition)
	for _, t := range found {
		for _, p := range t.Partitions {
			if p.Leader >= 0 {
				byLeader[p.Leader] = append(byLeader[p.Leader], kafka.FetchPartition{
					Topic: t.Name, TopicID: t.ID, Partition: p.Index, LeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: 1,
				})
				break
			}
		}
	}
	var errs []error
	for broker, parts := range byLeader {
		resp, err := fetcher.Fetch(ctx, broker, kafka.FetchRequest{MaxBytes: 1, Partitions: parts})
		if errors.Is(err, kafka.ErrRetriable) {
			continue // a broker that is down: the new leader will tell, to the fetch loops
		}
		if err != nil {
			return err
		}
		for _, p := range resp.Partitions {
			if errors.Is(p.Err, kafka.ErrAuthorization) {
				errs = append(errs, unreadable(p.Topic, p.Err))
			}
		}
	}
	return errors.Join(errs...)
}

// watch runs until ctx ends, or, for once, until the point is complete. Fetch
// loops that it starts belong to loops.
func (o *observer) watch(ctx context.Context, loops *errgroup.Group) error {
	if o.ses.once {
		return o.watchOnce(ctx, loops)
	}
	look := time.NewTicker(o.ses.Config.MetadataEvery)
	defer look.Stop()
	point := time.NewTicker(o.ses.Config.PointEvery)
	defer point.Stop()
	if err := o.passing(o.beginCut(ctx, loops)); err != nil {
		return err
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			if err = o.update(ctx, loops); err == nil {
				err = o.beginAsked(ctx, loops)
			}
		case <-o.ses.refresh:
			wait(ctx, nil, retryPause) // no storm while a leader is being elected
			err = o.update(ctx, loops)
		case <-point.C:
			err = o.beginCut(ctx, loops)
		case q := <-o.ses.Requests.asked():
			err = o.ask(ctx, loops, q)
		case <-o.ses.progress:
			underWay := o.next != nil
			if err = o.completeCut(ctx); err == nil && underWay {
				err = o.beginAsked(ctx, loops)
			}
		}
		if err := o.passing(err); err != nil {
			return err
		}
		if err := o.stalled(time.Now()); err != nil {
			o.complain(err, o.pace.since)
		}
	}
}

// passing drops errors that the next attempt may not meet.
func (o *observer) passing(err error) error {
	if !o.ses.once && errors.Is(err, ErrNoTopics) || errors.Is(err, kafka.ErrRetriable) || errors.Is(err, kafka.ErrUnreachable) || errors.Is(err, kafka.ErrNotLeader) || errors.Is(err, kafka.ErrUnknownTopic) {
		o.complain(err, time.Now())
		o.dropCut()
		return nil
	}
	return err
}

// watchOnce begins a cut until one has been handed on: a topic that is recreated
// meanwhile spoils the one under way.
func (o *observer) watchOnce(ctx context.Context, loops *errgroup.Group) error {
	look := time.NewTicker(o.ses.Config.MetadataEvery)
	defer look.Stop()
	for !o.pointed {
		if err := o.beginOnce(ctx, loops); err != nil {
			return err
		}
		for o.next != nil {
			if err := o.awaitOnce(ctx, loops, look.C); err != nil {
				return err
			}
			if err := o.stalled(time.Now()); err != nil {
				return err
			}
		}
	}
	return nil
}

// beginOnce begins a cut, as soon as the cluster lets it.
func (o *observer) beginOnce(ctx context.Context, loops *errgroup.Group) error {
	deadline := time.Now().Add(o.ses.Config.Patience)
	for {
		err := o.beginCut(ctx, loops)
		if err == nil || o.passing(err) != nil {
			return err // begun, and perhaps complete
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w for %s: %w", errStalled, o.ses.Config.Patience, err)
		}
		wait(ctx, nil, time.Second)
	}
}

// awaitOnce waits for something to happen and looks whether the cut is complete.
func (o *observer) awaitOnce(ctx context.Context, loops *errgroup.Group, look <-chan time.Time) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-o.ses.progress:
		return o.completeCut(ctx)
	case <-look:
	case <-o.ses.refresh:
		wait(ctx, nil, retryPause)
	}
	if err := o.update(ctx, loops); err != nil && !errors.Is(err, kafka.ErrRetriable) && !errors.Is(err, kafka.ErrUnreachable) {
		return err
	}
	return o.completeCut(ctx)
}

// current returns the captured topics for the log.
func (o *observer) current() []manifest.Topic {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.list
}
