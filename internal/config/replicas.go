package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
)

// Replica is where backupd run keeps a second copy of the repository. How objects
// are put and read there is said as of a Store, of whose settings it has none.
type Replica struct {
	URL         string   `yaml:"url"`
	Every       Duration `yaml:"every"`     // 0 is replicaEvery
	MaxUpload   Rate     `yaml:"maxUpload"` // 0 is that of the repository's store
	MaxDownload Rate     `yaml:"maxDownload"`
	S3          S3       `yaml:"s3"`
	GCS         GCS      `yaml:"gcs"`
	Azure       Azure    `yaml:"azure"`
}

// Place returns the store of the replica.
func (r *Replica) Place() Store {
	return Store{URL: r.URL, MaxUpload: r.MaxUpload, MaxDownload: r.MaxDownload, S3: r.S3, GCS: r.GCS, Azure: r.Azure}
}

// ReplicaAt returns which replica is at a URL, or -1.
func (c *Config) ReplicaAt(url string) int {
	return slices.IndexFunc(c.Replicas, func(r Replica) bool { return r.IsAt(url) })
}

// StoreAt returns the store at a URL: that of a replica, or one of which no more is
// known. Limits that are not set are those of the repository's store.
func (c *Config) StoreAt(url string) Store {
	s := Store{URL: url}
	if i := c.ReplicaAt(url); i >= 0 {
		s = c.Replicas[i].Place()
	}
	s.MaxUpload, s.MaxDownload = cmp.Or(s.MaxUpload, c.Store.MaxUpload), cmp.Or(s.MaxDownload, c.Store.MaxDownload)
	return s
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
		default:
			if _, err := store.ParseLocation(list[i].URL); err != nil {
				bad(key+".url", "%v", err)
			}
		}
		places[url] = true
		place := list[i].Place()
		place.check(key, bad)
		if d := list[i].Interval(); d < time.Second || d > 24*time.Hour {
			bad(key+".every", "must be between 1s and 24h")
		}
	}
}

// ResolveURL makes the path of a directory relative to dir, if it is relative. What
// has a scheme, or lacks but its colon, is left alone.
func ResolveURL(url, dir string) string {
	scheme, _, ok := strings.Cut(url, ":")
	if first, _, twice := strings.Cut(url, "//"); twice && first != "" && !strings.Contains(first, "/") && strings.Trim(first, ".") != "" {
		return url // which is refused, as a URL without its colon
	}
	if url == "" || filepath.IsAbs(url) || ok && !strings.Contains(scheme, "/") {
		return url
	}
	return filepath.Join(dir, url)
}
