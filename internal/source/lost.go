package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// ErrLost is that of a repository which is sound but for what is known to be lost.
var ErrLost = errors.New("some of the backup is lost")

// errLost: something that is to be read was damaged, and could not be had again.
var errLost = errors.New("lost: damaged in the backup, and could not be repaired")

// lossReason says why the offset of a track is lost, or nothing if the log does not
// say it any more.
func lossReason(head *manifest.State, t *track, at int64) removedReason {
	for _, l := range head.Lost {
		if l.Start <= at && at < l.Next() && slices.ContainsFunc(t.branches, func(b branch) bool { return b.stream == l.Stream }) {
			return removedReason(fmt.Sprintf("%v (%s: %s; log entry %d of %s)", errLost, l.In.Key(), manifest.Quoted(l.Reason), l.Entry, Clock(l.Time)))
		}
	}
	return ""
}

// LossNote is what is known to be lost, and to which points that matters.
type LossNote struct {
	LostRange
	Object string // that held it
	Reason string
	Entry  uint64 // of the log, that says so
	Time   int64  // of that entry
	// First and Last are the points that lack it, and Count how many there are; a topic that was gone at one does not count.
	First, Last manifest.PointRef
	Count       int
}

// Losses lists what is lost by the log up to a state, and the points that lack it.
func Losses(ctx context.Context, repo *manifest.Repository, head *manifest.State) ([]LossNote, error) {
	notes := make([]LossNote, len(head.Lost))
	for i := range head.Lost {
		l := &head.Lost[i]
		key := head.Key(l.Stream)
		topic := head.Topics[head.Streams[l.Stream].Topic].Name
		notes[i] = LossNote{LostRange{topic, key, l.Start, l.Next(), []int{l.Stream}}, l.In.Key(), l.Reason, l.Entry, l.Time, manifest.PointRef{}, manifest.PointRef{}, 0}
	}
	if len(notes) == 0 || len(head.Points) == 0 {
		return notes, nil
	}
	points := make(map[uint64]manifest.PointRef, len(head.Points))
	for _, p := range head.Points {
		points[p.Sequence] = p
	}
	_, err := repo.Read(ctx, head.Sequence, func(s *manifest.State, e *manifest.Entry) error {
		p, there := points[e.Sequence]
		if !there || e.Point == nil {
			return nil
		}
		for i := range notes {
			if len(lackingAt(s, e, []LostRange{notes[i].LostRange})) > 0 {
				notes[i].meet(p)
			}
		}
		return nil
	})
	return notes, err
}

func (n *LossNote) meet(p manifest.PointRef) {
	if n.Count == 0 {
		n.First = p
	}
	n.Last = p
	n.Count++
}

// InPoints says in words which points lack it.
func (n *LossNote) InPoints() string {
	switch n.Count {
	case 0:
		return "no recovery point needs it"
	case 1:
		return fmt.Sprintf("recovery point %d lacks it", n.First.Sequence)
	}
	return fmt.Sprintf("%d recovery points lack it, from %d to %d", n.Count, n.First.Sequence, n.Last.Sequence)
}

func (n *LossNote) String() string {
	return fmt.Sprintf("%s: %s (%s, since log entry %d of %s); %s", n.LostRange, n.Reason, n.Object, n.Entry, Clock(n.Time), n.InPoints())
}

// LossInfo is what a loss costs, in the form of -o json.
type LossInfo struct {
	Object string    `json:"object"`
	Reason string    `json:"reason"`
	Entry  uint64    `json:"entry"`
	Since  time.Time `json:"since"`
	First  uint64    `json:"firstPoint"` // that lacks it, 0 for none
	Last   uint64    `json:"lastPoint"`
	Points int       `json:"points"`
}

// Info describes what a loss costs.
func (n *LossNote) Info() LossInfo {
	return LossInfo{n.Object, n.Reason, n.Entry, time.UnixMilli(n.Time).UTC(), n.First.Sequence, n.Last.Sequence, n.Count}
}

// LossContent is a loss, in the form of -o json.
type LossContent struct {
	Topic     string `json:"topic"`
	TopicID   string `json:"topicId"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
	LossInfo

	text string
}

func (c *LossContent) String() string { return c.text }

// LossContents lists what is lost by the log up to a state.
func LossContents(ctx context.Context, repo *manifest.Repository, head *manifest.State) ([]LossContent, error) {
	notes, err := Losses(ctx, repo, head)
	list := make([]LossContent, len(notes))
	for i := range notes {
		list[i] = notes[i].Content()
	}
	return list, err
}

// Content describes a loss.
func (n *LossNote) Content() LossContent {
	return LossContent{n.Topic, kafka.TopicID(n.Key.TopicID).String(), n.Key.Partition, n.From, n.To, n.Info(), n.String()}
}
