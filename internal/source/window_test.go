package source

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

func (a *author) window(limit int) (*Window, []string) {
	a.t.Helper()
	w, err := ReadWindow(a.t.Context(), a.repo, Listing{Limit: limit})
	if err != nil {
		a.t.Fatal(err)
	}
	var list []string
	for _, t := range w.Topics {
		text := fmt.Sprintf("%s@%d gone=%t", t.Topic, t.Incarnation, t.Gone)
		if t.First != nil {
			text += fmt.Sprintf(" %d-%d", t.First.ID, t.Last.ID)
		}
		for _, g := range t.Gaps {
			text += fmt.Sprintf(" %d[%d,%d)", g.Partition, g.From, g.To)
		}
		list = append(list, text)
	}
	return w, list
}

func TestListing(t *testing.T) {
	points := []manifest.PointRef{{Sequence: 1, Time: 100}, {Sequence: 2, Time: 200, Name: "named"}, {Sequence: 3, Time: 300, Pinned: true}, {Sequence: 4, Time: 400}}
	for name, tc := range map[string]struct {
		asked Listing
		want  string
	}{
		"all":     {Listing{}, "[1 2 3 4]"},
		"from":    {Listing{From: time.UnixMilli(200)}, "[2 3 4]"},
		"to":      {Listing{To: time.UnixMilli(200)}, "[1 2]"},
		"between": {Listing{From: time.UnixMilli(101), To: time.UnixMilli(399)}, "[2 3]"},
		"named":   {Listing{Named: true}, "[2 3]"},
		"none":    {Listing{From: time.UnixMilli(401)}, "[]"},
	} {
		ids := []uint64{}
		for _, p := range tc.asked.of(points) {
			ids = append(ids, p.Sequence)
		}
		if got := fmt.Sprint(ids); got != tc.want {
			t.Errorf("%s: points %s, want %s", name, got, tc.want)
		}
	}
}

func TestWindow(t *testing.T) {
	a := incarnations(t)
	if _, got := a.window(0); !reflect.DeepEqual(got, []string{"bills@1 gone=true 1-2", "orders@1 gone=true 1-1", "orders@2 gone=false 2-3"}) {
		t.Errorf("got %q", got)
	}
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(3, "new", false, 1)}})
	if _, err := a.log.DeletePoint(t.Context(), func(s *manifest.State) (manifest.PointRef, error) { return NamedPoint(s.Points, "1") }); err != nil {
		t.Fatal(err)
	}
	w, got := a.window(1)
	if !reflect.DeepEqual(got, []string{"bills@1 gone=true 2-2", "new@1 gone=false", "orders@1 gone=true", "orders@2 gone=false 2-3"}) {
		t.Errorf("without point 1: %q", got)
	}
	if w.Total != 2 || len(w.Points) != 1 || w.Points[0].ID != 3 {
		t.Errorf("points are %+v of %d", w.Points, w.Total)
	}
	if _, got := gapStory(t).window(0); !reflect.DeepEqual(got, []string{"bills@1 gone=false 1-5 0[2,5)", "calm@1 gone=false 1-5", "orders@1 gone=false 1-5 0[4,9)"}) {
		t.Errorf("with gaps: %q", got)
	}
}
