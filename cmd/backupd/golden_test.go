package main

import (
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/dir"
)

const goldenPoints = "../../test/golden/v1/points/repository"

// repositoryAt opens the repository in a directory.
func repositoryAt(t *testing.T, path string) *manifest.Repository {
	t.Helper()
	st, err := dir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}
