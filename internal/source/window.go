package source

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Window is what one can go back to, in the form of restored list -o json.
type Window struct {
	SchemaVersion int           `json:"schemaVersion"`
	Points        []PointInfo   `json:"points"` // the newest first
	Total         int           `json:"total"`
	Topics        []TopicWindow `json:"topics"` // by name and age
}

// TopicWindow says which points have one incarnation of a topic.
type TopicWindow struct {
	Topic       string      `json:"topic"`
	TopicID     string      `json:"topicId"`
	Incarnation int         `json:"incarnation"`
	Gone        bool        `json:"gone"`
	First       *PointInfo  `json:"first"` // nil if no point has it
	Last        *PointInfo  `json:"last"`
	Gaps        []WindowGap `json:"gaps"`
}

// WindowGap are offsets that the backup lacks.
type WindowGap struct {
	Partition int32     `json:"partition"`
	From      int64     `json:"from"`
	To        int64     `json:"to"`
	Noticed   time.Time `json:"noticed"`
	Reason    string    `json:"reason"`
}

// lifetime are the entries [from, to) after which a topic was there.
type lifetime struct{ from, to uint64 }

// ReadWindow reads the log and lists at most limit points, all of them if it is 0.
func ReadWindow(ctx context.Context, repo *manifest.Repository, limit int) (*Window, error) {
	lives := make(map[int]lifetime) // by topic number
	gaps := make(map[int][]WindowGap)
	state, err := repo.Read(ctx, 0, func(s *manifest.State, e *manifest.Entry) error {
		for i := range e.Topics {
			lives[e.Topics[i].Number] = lives[e.Topics[i].Number].after(e.Sequence, e.Topics[i].Gone)
		}
		for _, g := range gapsIn(s, e) {
			n, _ := s.TopicNumber(g.key.TopicID)
			gaps[n] = append(gaps[n], WindowGap{g.key.Partition, g.from, g.to, time.UnixMilli(e.Time).UTC(), g.reason.String()})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	w := &Window{SchemaVersion: 1, Points: Newest(state.Points, limit), Total: len(state.Points), Topics: []TopicWindow{}}
	snap := Snapshot{State: state}
	for _, i := range snap.Incarnations() {
		t := TopicWindow{Topic: i.Name, TopicID: kafka.TopicID(i.ID).String(), Incarnation: i.Nth, Gone: i.Gone, Gaps: append([]WindowGap{}, gaps[i.Number]...)}
		if there := lives[i.Number].points(state.Points); len(there) > 0 {
			first, last := Info(there[0]), Info(there[len(there)-1])
			t.First, t.Last = &first, &last
		}
		w.Topics = append(w.Topics, t)
	}
	return w, nil
}

// after is the lifetime after an entry that states the topic.
func (l lifetime) after(entry uint64, gone bool) lifetime {
	if l.from == 0 {
		l.from = entry
	}
	if l.to = math.MaxUint64; gone {
		l.to = entry
	}
	return l
}

// points returns those at which the topic was there.
func (l lifetime) points(all []manifest.PointRef) []manifest.PointRef {
	from := slices.IndexFunc(all, func(p manifest.PointRef) bool { return p.Sequence >= l.from })
	if from < 0 {
		return nil
	}
	all = all[from:]
	if to := slices.IndexFunc(all, func(p manifest.PointRef) bool { return p.Sequence >= l.to }); to >= 0 {
		return all[:to]
	}
	return all
}
