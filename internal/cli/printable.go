package cli

import (
	"strings"
	"unicode"
)

// Printable keeps what a backup says from moving the cursor, or from looking
// like another line.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
