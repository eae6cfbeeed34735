package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/offsite-kafka/offsite/internal/source"
)

// Ask asks a question on the terminal, and returns an error unless it is answered with yes.
func Ask(question string) error { return ask(os.Stdin, os.Stderr, question) }

func ask(in io.Reader, out io.Writer, question string) error {
	fmt.Fprintf(out, "%s [y/N] ", question)
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil || !strings.EqualFold(strings.TrimSpace(answer), "y") {
		return fmt.Errorf("%w: not confirmed", source.ErrRefused)
	}
	return nil
}
