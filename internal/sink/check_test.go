package sink

import (
	"errors"
	"testing"

	"github.com/offsite-kafka/offsite/internal/pattern"
)

// A check needs a cluster and no repository.
func TestCheckNeedsNoRepository(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 2)
	p.Repository = nil
	if err := p.Check(t.Context()); err != nil {
		t.Errorf("a cluster that can be captured: %v", err)
	}
	var err error
	if p.Config.Topics, err = pattern.Parse([]string{"t", "absent"}); err != nil {
		t.Fatal(err)
	}
	if err := p.Check(t.Context()); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a topic that is not there: %v", err)
	}
}
