package source

import (
	"context"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Window is what one can go back to, in the form of restored list -o json.
type Window struct {
	SchemaVersion int           `json:"schemaVersion"`
	Points        []PointInfo   `json:"points"` // the newest first
	Total         int           `json:"total"`  // of those that are asked for
	Topics        []TopicWindow `json:"topics"` // by name and age
	Losses        []LossContent `json:"losses"`
}

// TopicWindow says which points have one incarnation of a topic.
type TopicWindow struct {
	Topic       string      `json:"topic"`
	TopicID     string      `json:"topicId"`
	Incarnation int         `json:"incarnation"`
	Gone        bool        `json:"gone"`
	First       *PointInfo  `json:"first"` // nil if no point has all of it
	Last        *PointInfo  `json:"last"`
	Gaps        []WindowGap `json:"gaps"`
	// PartlyRemoved is how many points have it without something that the
	// retention has removed, or that is lost. They are not among First … Last.
	PartlyRemoved int `json:"partlyRemoved"`
}

// WindowGap are offsets that the backup lacks.
type WindowGap struct {
	Partition int32     `json:"partition"`
	From      int64     `json:"from"`
	To        int64     `json:"to"`
	Noticed   time.Time `json:"noticed"`
	Reason    string    `json:"reason"`
}

// ReadWindow reads the log and lists the points that are asked for.
func ReadWindow(ctx context.Context, repo *manifest.Repository, asked Listing) (*Window, error) {
	state, err := repo.State(ctx, 0)
	if err != nil {
		return nil, err
	}
	gaps := make(map[int][]WindowGap) // by topic number
	for _, g := range state.Gaps {
		st := &state.Streams[g.Stream]
		gaps[st.Topic] = append(gaps[st.Topic], WindowGap{st.Partition, g.From, g.To, time.UnixMilli(g.Time).UTC(), g.Reason.String()})
	}
	rest, err := readRemnants(ctx, repo, state)
	if err != nil {
		return nil, err
	}
	points := asked.of(state.Points)
	w := &Window{SchemaVersion: 1, Points: Newest(points, asked.Limit), Total: len(points), Topics: []TopicWindow{}}
	snap := Snapshot{State: state}
	for _, i := range snap.Incarnations() {
		t := TopicWindow{Topic: i.Name, TopicID: kafka.TopicID(i.ID).String(), Incarnation: i.Nth, Gone: i.Gone, Gaps: append([]WindowGap{}, gaps[i.Number]...)}
		all := pointsOf(&state.Lives[i.Number], state.Points)
		there := rest.whole(i.Number, all)
		t.PartlyRemoved = len(all) - len(there)
		if len(there) > 0 {
			first, last := Info(there[0]), Info(there[len(there)-1])
			t.First, t.Last = &first, &last
		}
		w.Topics = append(w.Topics, t)
	}
	w.Losses, err = LossContents(ctx, repo, state)
	return w, err
}

// pointsOf returns the points at which a topic was there.
func pointsOf(life *manifest.Life, all []manifest.PointRef) []manifest.PointRef {
	from := slices.IndexFunc(all, func(p manifest.PointRef) bool { return p.Sequence >= life.Since.Entry })
	if from < 0 {
		return nil
	}
	all = all[from:]
	if life.Gone.Entry == 0 {
		return all
	}
	if to := slices.IndexFunc(all, func(p manifest.PointRef) bool { return p.Sequence >= life.Gone.Entry }); to >= 0 {
		return all[:to]
	}
	return all
}
