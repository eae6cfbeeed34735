package source

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// noteDamaged notes of a segment that the restore reads what a verification has found of
// it. It need not be so any more: nothing is refused for it.
func (p *Plan) noteDamaged(key string, parts []part) {
	for _, v := range p.last().head.Verified {
		if v.Known.Entry == 0 || !strings.HasPrefix(v.Known.Text, key+": ") {
			continue
		}
		for i := range parts {
			text := fmt.Sprintf("%s: a restore may end with exit code 13: a verification has found damage (%s) in what it reads, and none has found it sound since; \"backupd repair\" mends it, \"restored verify\" says what it costs",
				p.Topics[parts[i].track.topic].Target, manifest.Quoted(v.Known.Text))
			if !slices.Contains(p.Notes, text) {
				p.note("%s", text)
			}
		}
	}
}

// noteMoreDamage notes what has been found beside that: the log names only the first.
func (p *Plan) noteMoreDamage() {
	most := int64(1)
	for _, v := range p.last().head.Verified {
		most = max(most, v.Known.Objects)
	}
	if most > 1 {
		p.note("a verification has found %s, of which the log names the first only, and none has found them sound since: \"restored verify\" says which topics they are of", english.Plural(int(most), "damaged object", ""))
	}
}
