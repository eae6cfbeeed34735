package store

import (
	"fmt"
	"strings"
)

// Limits of a key. S3 allows 1,024 bytes, of which the rest is left for the
// prefix of the repository; file systems allow 255 bytes in a name.
const (
	MaxKeyLen     = 512
	MaxElementLen = 255
)

// CheckKey returns ErrInvalid unless key is a relative slash-separated path of
// [a-z0-9._-] with 1 to MaxKeyLen bytes, whose elements are neither empty nor
// longer than MaxElementLen and do not begin with a dot. Every Store refuses
// other keys. Upper case is out because of file systems that fold it; leading
// dots because of "..", and to leave names for a store's own use.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("empty key: %w", ErrInvalid)
	}
	if err := checkElements(key); err != nil {
		return fmt.Errorf("key %.80q: %w: %w", key, ErrInvalid, err)
	}
	return nil
}

// CheckPrefix returns ErrInvalid unless prefix, which may be empty, is the
// beginning of some valid key.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	// What ends inside an element or after a slash is completed to a key.
	if err := checkElements(prefix + "x"); err != nil && checkElements(prefix) != nil {
		return fmt.Errorf("prefix %.80q: %w: %w", prefix, ErrInvalid, err)
	}
	return nil
}

func checkElements(path string) error {
	if len(path) > MaxKeyLen {
		return fmt.Errorf("longer than %d bytes", MaxKeyLen)
	}
	for element := range strings.SplitSeq(path, "/") {
		switch {
		case element == "":
			return fmt.Errorf("empty path element")
		case element[0] == '.':
			return fmt.Errorf("path element begins with a dot")
		case len(element) > MaxElementLen:
			return fmt.Errorf("path element longer than %d bytes", MaxElementLen)
		}
	}
	for i := range len(path) {
		if !isKeyByte(path[i]) {
			return fmt.Errorf("byte %q at %d is not one of a-z 0-9 . _ - /", path[i], i)
		}
	}
	return nil
}

func isKeyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-' || c == '/'
}
