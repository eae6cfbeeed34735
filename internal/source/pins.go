package source

import (
	"fmt"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// PinContent is the pin of a restore, in the form of -o json.
type PinContent struct {
	ID string `json:"id"`
	manifest.Pin
	Refreshed time.Time `json:"refreshed"`
	State     string    `json:"state"` // in force, ended or stale
}

// PinContents describes pins.
func PinContents(pins []manifest.Pin, now time.Time) []PinContent {
	list := make([]PinContent, len(pins))
	for i := range pins {
		list[i] = PinContent{pins[i].ID, pins[i], pins[i].Refreshed.UTC(), pinState(&pins[i], now)}
	}
	return list
}

func pinState(p *manifest.Pin, now time.Time) string {
	switch {
	case p.Ended:
		return "ended"
	case p.Stale(now):
		return "stale"
	}
	return "in force"
}

func (p *PinContent) String() string {
	return fmt.Sprintf("%s: %s; point %d, %s, since %s, refreshed %s", p.ID, p.State, p.Point, strings.TrimSuffix(p.Program+" on "+p.Host, " on "), p.Begun.Format(time.RFC3339), p.Refreshed.Format(time.RFC3339))
}
