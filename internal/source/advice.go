package source

import (
	"errors"
	"fmt"
	"strings"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// onDamage adds to an error about damage what can be done, and what an
// interrupted restore has left on the target.
func (p *Plan) onDamage(err error) error {
	var d *manifest.Damage
	if !errors.As(err, &d) {
		return err
	}
	advice := "what is not damaged comes back with --topics that leave the topics out of which something is lost, or with an earlier --at"
	var left []string
	for _, t := range p.Topics {
		if t.takesConfigs() && !t.filled && t.producer.id >= 0 {
			left = append(left, t.Target)
		}
	}
	if len(left) > 0 {
		advice += fmt.Sprintf("; target topics that are incomplete by now, with the temporary configs of a restore: %s: the same point with other --topics goes on with them, before another one delete them",
			strings.Join(left, ", "))
	}
	return fmt.Errorf("%w; %s", err, advice)
}
