package source

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// VerifiedContent is the last verification of a level, in the form of -o json.
type VerifiedContent struct {
	Level    string    `json:"level"`
	Entry    uint64    `json:"entry"`
	Time     time.Time `json:"time"`
	First    uint64    `json:"firstEntry"`
	Last     uint64    `json:"lastEntry"`
	Sample   float64   `json:"samplePercent"`
	Seed     uint64    `json:"seed"`
	Segments int64     `json:"segments"`
	Bytes    int64     `json:"readBytes"`
	Damages  int64     `json:"damagedObjects"`
	Found    string    `json:"found"`
	Through  uint64    `json:"soundThroughEntry"`
	// Known damage, which an earlier verification may have found.
	Known      int64  `json:"knownDamagedObjects"`
	KnownFound string `json:"knownFound"`
}

// VerifiedContents lists the last verification of each level that the log tells of, by level.
func VerifiedContents(state *manifest.State) []VerifiedContent {
	list := []VerifiedContent{}
	for _, v := range state.Verified {
		if v.Entry > 0 {
			list = append(list, VerifiedContent{
				v.Level.String(), v.Entry, time.UnixMilli(v.Time).UTC(), v.First, v.Last, float64(v.Share) / (manifest.WholeShare / 100), v.Seed,
				v.Segments, v.Bytes, v.Damages, v.Text, state.SoundThrough(v.Level), v.Known.Objects, v.Known.Text,
			})
		}
	}
	return list
}

// Text says what was verified when, and what was found.
func (v *VerifiedContent) Text(now time.Time) string {
	return fmt.Sprintf("%s, %g %% of entries %d to %d, %s: %s", v.Level, v.Sample, v.First, v.Last, humanize.RelTime(v.Time, now, "ago", "from now"), english.Plural(int(v.Damages), "damaged object", ""))
}
