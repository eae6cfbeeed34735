package remote

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/offsite-kafka/offsite/internal/store"
)

// maxPrefixLen leaves room for a key: S3, GCS and Azure allow 1,024 bytes for both.
const maxPrefixLen = 1024 - store.MaxKeyLen - 1

// CleanPrefix makes the prefix of a repository in a bucket end in a slash, if it
// is not empty, and refuses what would not mean the same everywhere: servers and
// proxies resolve "." and "..".
func CleanPrefix(prefix string) (string, error) {
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix == "" {
		return "", nil
	}
	if len(prefix) > maxPrefixLen {
		return "", fmt.Errorf("prefix longer than %d bytes: %w", maxPrefixLen, store.ErrInvalid)
	}
	if !utf8.ValidString(prefix) || strings.ContainsFunc(prefix, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("prefix %q with control characters: %w", prefix, store.ErrInvalid)
	}
	for element := range strings.SplitSeq(prefix, "/") {
		if element == "" || element == "." || element == ".." {
			return "", fmt.Errorf("prefix %q with the element %q: %w", prefix, element, store.ErrInvalid)
		}
	}
	return prefix + "/", nil
}
