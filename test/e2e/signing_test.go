//go:build e2e

package e2e_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// copied is the repository, which is a directory, as it is now.
func (r *repository) copied(t testing.TB) *repository {
	t.Helper()
	other := newRepository(t)
	must(t, os.CopyFS(other.url, os.DirFS(r.url)))
	return other
}

// entry is the file of a log entry.
func (r *repository) entry(n int) string {
	return filepath.Join(r.url, "log", "00000000", fmt.Sprintf("%012d", n))
}

// A log that is forged, reordered or rolled back is refused by both programs, if they know the key and how far the log was.
func TestSigning(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	fill(t, c, 5, "orders")
	r := newRepository(t)
	keys := t.TempDir()
	newKey := func(name string) (file, public string) {
		file = filepath.Join(keys, name)
		return file, decodeJSON[struct{ PublicKey string }](t, r.run("backupd", nil, "key", "generate", "--signing", "--file", file, "-o", "json")).PublicKey
	}
	own, public := newKey("own")
	foreign, _ := newKey("foreign")
	signed := func(file string) []string { return []string{"-X", "signing.keyFile=" + file} }
	trust := []string{"-X", "signing.publicKey=" + public}
	for range 3 {
		r.backup(c, append(signed(own), trust...)...)
		more(t, c, 3)
	}
	last := r.objects("log")
	b, err := os.ReadFile(r.entry(last))
	must(t, err)
	head := append(trust, "-X", fmt.Sprintf("signing.head=%d:%x", last, sha256.Sum256(b)))
	wantError(t, r.try("backupd", c, "once"), exitRefused, "set signing.keyFile", fmt.Sprintf("%d:%x", last, sha256.Sum256(b)))
	wantError(t, r.try("restored", nil, "verify", "--record"), exitRefused, "set signing.keyFile")
	wantError(t, r.try("backupd", c, append(append([]string{"once"}, signed(foreign)...), trust...)...), exitUsage, "signing.publicKey is "+public, "public key of signing.keyFile is ed25519:")
	for _, with := range [][]string{nil, trust, head} {
		r.run("restored", nil, append([]string{"verify"}, with...)...)
		r.run("restored", c, append([]string{"plan", "--rename", "orders=copy"}, with...)...)
	}
	for _, test := range []struct {
		name  string
		forge func(f *repository)
		with  []string // without the last two of which nothing is noticed
		code  int
		words []string
	}{
		{"an entry that is not signed", func(f *repository) { f.backup(c, head[len(trust):]...) }, trust, exitRefused, []string{fmt.Sprintf("%012d", last+1), "it is not signed"}},
		{"an entry by another key", func(f *repository) { f.backup(c, signed(foreign)...) }, trust, exitRefused, []string{fmt.Sprintf("%012d", last+1), "not by the key"}},
		{"all of it by another key", func(f *repository) {
			must(t, os.RemoveAll(f.url))
			f.backup(c, signed(foreign)...)
		}, trust, exitRefused, []string{fmt.Sprintf("%012d", 1), "not by the key"}},
		{"entries swapped", func(f *repository) {
			must(t, os.Rename(f.entry(2), f.entry(9)))
			must(t, os.Rename(f.entry(3), f.entry(2)))
			must(t, os.Rename(f.entry(9), f.entry(3)))
		}, nil, exitDamaged, []string{fmt.Sprintf("%012d", 2)}},
		{"the last entry is gone", func(f *repository) { must(t, os.Remove(f.entry(last))) }, head, exitRefused, []string{fmt.Sprint("it ends with entry ", last-1), "rolled back"}},
		{"the last entry is gone, and one by a thief of the key is in its place", func(f *repository) {
			must(t, os.Remove(f.entry(last)))
			f.backup(c, signed(own)...)
		}, head, exitRefused, []string{"not the entry with this number that signing.head pins"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := r.copied(t)
			test.forge(f)
			with := func(args ...string) []string { return append(args, test.with...) }
			f.expect(test.code, "restored", nil, with("verify")...)
			wantError(t, f.try("restored", nil, with("list")...), test.code, test.words...)
			wantError(t, f.try("backupd", nil, with("status")...), test.code, test.words...)
			wantError(t, f.try("backupd", c, with(append(signed(own), "once")...)...), test.code, test.words...)
			wantError(t, f.try("restored", c, with("run", "--yes", "--rename", "orders=forged")...), test.code, test.words...)
			if len(test.with) > 0 {
				f.run("restored", nil, append([]string{"verify"}, test.with[:len(test.with)-2]...)...)
			}
		})
	}
}
