package golden_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/metadata"
	"github.com/offsite-kafka/offsite/internal/source"
)

// metadataOf returns what the points of a golden repository must know of the cluster, by the points' ids.
func metadataOf(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "metadata-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := make(map[string][]byte)
	for _, f := range files {
		point := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "metadata-"), ".jsonl")
		if lines[point], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return lines
}

// The metadata of every kind are what they were, point by point, and can be decoded.
func TestGoldenMetadata(t *testing.T) {
	points := 0
	for _, folder := range repositories(t) {
		for point, want := range metadataOf(t, folder) {
			points++
			t.Run(filepath.Base(folder)+" point "+point, func(t *testing.T) {
				id, err := strconv.ParseUint(point, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				snapshot, err := source.LoadPoint(t.Context(), open(t, folder), id)
				if err != nil {
					t.Fatal(err)
				}
				var got strings.Builder
				for _, name := range slices.Sorted(maps.Keys(snapshot.State.Metadata)) {
					text := *snapshot.State.Metadata[name].Content
					fmt.Fprintf(&got, `{"kind":"metadata","name":"%s","content":%s}`+"\n", name, text)
					if content, err := metadata.Decode(metadata.Kind(name), text); err != nil || content.Len() == 0 {
						t.Errorf("%s: %v, %v", name, content, err)
					}
				}
				requireSame(t, []byte(got.String()), want)
			})
		}
	}
	if points < 2 {
		t.Errorf("only %d points with metadata", points)
	}
}
