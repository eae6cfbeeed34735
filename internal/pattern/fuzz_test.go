package pattern_test

import (
	"testing"

	"github.com/offsite-kafka/offsite/internal/pattern"
)

// FuzzParse: what is a pattern can be asked for any name.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"orders", "a*", "!__*", "/^x[0-9]+$/", "{a,b}-?", "[!a-c]", "/(/", "!", "a,b"} {
		f.Add(text, "orders")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		list, err := pattern.Parse(pattern.Split(text))
		if err == nil {
			_, _ = list.Match(name), list.Literals()
		}
	})
}
