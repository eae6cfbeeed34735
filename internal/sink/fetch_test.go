package sink

import "testing"

func TestAppetiteFollowsTheAnswers(t *testing.T) {
	const most = 6 << 20
	want := appetite(0, most, 0)
	if want != leastFetch {
		t.Fatalf("the first request asks for %d bytes", want)
	}
	for range 10 {
		want = appetite(want, most, int64(want)) // a backlog
	}
	if want != most {
		t.Errorf("after ten full answers %d bytes are asked for, instead of %d", want, most)
	}
	if got := appetite(want, most, 100<<20); got != most {
		t.Errorf("after a batch larger than the limit %d bytes are asked for", got)
	}
	if got := appetite(want, most, most/3); got != most {
		t.Errorf("a third of the answer used, and %d bytes are asked for", got)
	}
	for range 10 {
		want = appetite(want, most, 1000) // nothing but a trickle
	}
	if want != leastFetch {
		t.Errorf("after ten small answers %d bytes are asked for", want)
	}
	if got := appetite(0, 1000, 0); got != 1000 {
		t.Errorf("with a limit of 1000 bytes %d are asked for", got)
	}
}
