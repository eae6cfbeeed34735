package config

import (
	"path/filepath"
	"strings"
)

// ResolveURL makes the path of a directory relative to dir, if it is relative. What
// has a scheme is left alone.
func ResolveURL(url, dir string) string {
	scheme, _, ok := strings.Cut(url, ":")
	if url == "" || filepath.IsAbs(url) || ok && !strings.Contains(scheme, "/") {
		return url
	}
	return filepath.Join(dir, url)
}
