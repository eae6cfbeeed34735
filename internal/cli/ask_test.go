package cli

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/source"
)

func TestAsk(t *testing.T) {
	for answer, yes := range map[string]bool{"y\n": true, " Y \n": true, "n\n": false, "\n": false, "": false, "y": false, "yes and no\n": false} {
		if err := ask(strings.NewReader(answer), io.Discard, "Sure?"); (err == nil) != yes || !yes && !errors.Is(err, source.ErrRefused) {
			t.Errorf("answer %q: %v", answer, err)
		}
	}
}
