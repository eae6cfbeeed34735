package main

import (
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// The points that are the newest and the only one are asked about, as one with a name is.
func TestDeleteQuestion(t *testing.T) {
	plain, named := manifest.PointRef{Sequence: 5}, manifest.PointRef{Sequence: 7, Name: "before"}
	held := manifest.PointRef{Sequence: 5, Held: true}
	for _, test := range []struct {
		points []manifest.PointRef
		p      manifest.PointRef
		why    string
	}{
		{[]manifest.PointRef{plain, named}, plain, ""},
		{[]manifest.PointRef{plain, named}, named, "has a name, before"},
		{[]manifest.PointRef{{Sequence: 3}, plain}, plain, "is the newest"},
		{[]manifest.PointRef{plain}, plain, "is the only one"},
		{[]manifest.PointRef{named}, named, "is the only one"},
		{[]manifest.PointRef{held}, held, ""}, // is refused
	} {
		why, question := deleteQuestion(test.points, test.p)
		if !strings.HasPrefix(why, test.why) || (why == "") != (test.why == "") || (question == "") != (test.why == "") {
			t.Errorf("%+v of %d points: %q, %q", test.p, len(test.points), why, question)
		}
	}
}

// The latest point is the one that was the latest when the command first looked.
func TestLatestStaysTheSame(t *testing.T) {
	var was manifest.PointRef
	find := called("latest", &was)
	state := &manifest.State{Points: []manifest.PointRef{{Sequence: 5}, {Sequence: 7}}}
	for range 2 {
		if p, err := find(state); err != nil || p.Sequence != 7 || was.Sequence != 7 {
			t.Errorf("got %+v, %v", p, err)
		}
		state.Points = append(state.Points, manifest.PointRef{Sequence: 9})
	}
}
