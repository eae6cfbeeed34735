package golden_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/internal/store/dir"
	"github.com/offsite-kafka/offsite/test/golden"
)

const sealedFolder = "v1/sealed"

// openSealed opens the encrypted golden repository, or a copy of it, with the identity in a file.
func openSealed(t testing.TB, where, file string) *manifest.Repository {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(sealedFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	id, err := crypt.ParseIdentity(read(file))
	if err != nil {
		t.Fatal(err)
	}
	public, err := crypt.ParsePublicKey(string(read("signing.txt")))
	if err != nil {
		t.Fatal(err)
	}
	st, err := dir.Open(where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	repo.Unlock(id)
	repo.Trust(&public, nil)
	return repo
}

// The encrypted repository, with changed keys, merged blocks and signatures, yields to its reader what the broker's consumers saw, and to its
// writer no record.
func TestGoldenSealed(t *testing.T) {
	where := filepath.Join(sealedFolder, "encrypted")
	repo := openSealed(t, where, "reader.txt")
	report, err := source.Verify(t.Context(), repo, source.Scope{Level: manifest.LevelDecode}, nil)
	if err != nil || len(report.Damages) > 0 {
		t.Errorf("verify: %v, %+v", err, report)
	}
	state, err := repo.Read(t.Context(), 0, nil)
	if err != nil || len(state.Generations) != 2 || state.Moved == 0 || state.Snapshot == nil {
		t.Fatalf("%d generations of keys, moves in entry %d, %v", len(state.Generations), state.Moved, err)
	}
	for _, want := range expectations(t, sealedFolder) {
		expected, err := golden.Decode(want.lines)
		if err != nil {
			t.Fatal(err)
		}
		got, err := restored(t.Context(), openSealed(t, where, "reader.txt"), want.point, expected)
		if err != nil {
			t.Fatal(err)
		}
		requireSame(t, got, want.lines)
	}
	if _, err := source.Verify(t.Context(), openSealed(t, where, "writer.txt"), source.Scope{Level: manifest.LevelDigest}, nil); err != nil {
		t.Errorf("the writer verifies digests: %v", err)
	}
	if _, err := restored(t.Context(), openSealed(t, where, "writer.txt"), "", &golden.Content{}); !errors.Is(err, manifest.ErrLocked) || !strings.Contains(err.Error(), "reads the log but no record") {
		t.Errorf("the writer restores: %v", err)
	}
}
