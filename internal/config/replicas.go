package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Replica is where backupd run keeps a second copy of the repository.
type Replica struct {
	URL   string   `yaml:"url"`
	Every Duration `yaml:"every"` // 0 is replicaEvery
}

// replicaEvery is how often a replica is brought up to date where nothing is said.
const replicaEvery = time.Minute

// Interval says how often the replica is brought up to date.
func (r *Replica) Interval() time.Duration {
	if r.Every == 0 {
		return replicaEvery
	}
	return time.Duration(r.Every)
}

// Resolve makes the path of a directory relative to dir, if it is relative.
func (r *Replica) Resolve(dir string) { r.URL = ResolveURL(r.URL, dir) }

// IsAt says whether the replica is at a URL.
func (r *Replica) IsAt(url string) bool {
	return strings.TrimRight(r.URL, "/") == strings.TrimRight(url, "/")
}

// checkReplicaList does not mind that the repository is one of its replicas: so it is
// for who restores from one with the configuration of backupd.
func checkReplicaList(list []Replica, bad func(key, format string, args ...any)) {
	places := make(map[string]bool)
	for i := range list {
		key, url := fmt.Sprintf("replicas[%d]", i), strings.TrimRight(list[i].URL, "/")
		switch {
		case url == "":
			bad(key+".url", "is missing")
		case places[url]:
			bad(key+".url", "%s is another replica", url)
		}
		places[url] = true
		if d := list[i].Interval(); d < time.Second || d > 24*time.Hour {
			bad(key+".every", "must be between 1s and 24h")
		}
	}
}

// ResolveURL makes the path of a directory relative to dir, if it is relative. What
// has a scheme is left alone.
func ResolveURL(url, dir string) string {
	scheme, _, ok := strings.Cut(url, ":")
	if url == "" || filepath.IsAbs(url) || ok && !strings.Contains(scheme, "/") {
		return url
	}
	return filepath.Join(dir, url)
}
