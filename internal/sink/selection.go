package sink

import (
	"context"
	"slices"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

// admit returns ErrNoTopics until the cluster has been seen to have topics that
// are selected: before, a topic that is not there means nothing.
func (o *observer) admit(ctx context.Context, found []kafka.Topic) error {
	if o.admitted {
		return nil
	}
	if !slices.ContainsFunc(found, func(t kafka.Topic) bool { return !t.Internal }) {
		unlisted, err := o.unlisted(ctx)
		if err != nil {
			return err
		}
		if !unlisted {
			return ErrNoTopics
		}
	}
	o.admitted = true
	if n := len(o.deselected); n > 0 {
		o.ses.Log.Warn("topics in the repository are not selected any more: from now on they count as gone", "count", n, "topics", few(o.deselected))
	}
	return nil
}

// noteUnmatched warns, once, of patterns that match no topic: a topic that was meant may
// be spelled differently, and is missed, or captured although it was excluded. The
// patterns of the defaults are meant for what may be there.
func (o *observer) noteUnmatched(all []kafka.Topic) {
	if o.compared || len(all) == 0 {
		return
	}
	o.compared = true
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	unmatched := slices.DeleteFunc(o.ses.Config.Topics.Unmatched(names), func(text string) bool { return text == "*" || text == "!__*" })
	if len(unmatched) > 0 {
		o.ses.Log.Warn("patterns of select.topics or --topics match no topic of the cluster: are they spelled right?", "patterns", unmatched)
	}
}

// unlisted says whether the cluster knows topics of the repository by name,
// although it did not list them.
func (o *observer) unlisted(ctx context.Context) (bool, error) {
	trial := make(map[string]*observed)
	for _, t := range o.topics {
		if t.topic.Name == kafka.GroupLogTopic {
			continue // it says nothing of what is selected
		}
		trial[t.topic.Name] = &observed{topic: t.topic, missing: 1}
	}
	if err := o.askByName(ctx, trial); err != nil {
		return false, err
	}
	for _, t := range trial {
		if t.missing == 0 {
			return true, nil
		}
	}
	return false, nil
}
