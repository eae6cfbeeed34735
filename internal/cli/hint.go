package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// hint says what to do about errors that the packages below cannot know a
// remedy for, or is empty.
func hint(err error) string {
	for _, h := range []struct {
		err  error
		text string
	}{
		{store.ErrAuth, access(err)},
		{store.ErrFull, "make room; what was committed before is safe, and the next run goes on from there"},
		{store.ErrUnreachable, "check that a server listens there and that its address (AWS_ENDPOINT_URL_S3, or AWS_ENDPOINT_URL) is right"},
		{store.ErrUnusable, "check the disk, and start this again: what was committed before is safe"},
		{manifest.ErrOtherCluster, "give each cluster a repository of its own"},
		{manifest.ErrVersion, "use the version of this program that wrote it, or a later one"},
		{manifest.ErrDamaged, "\"restored verify\" says what is damaged and what that costs"},
		{context.Canceled, "interrupted: the same command goes on from where this one was"},
	} {
		if errors.Is(err, h.err) {
			return "; " + h.text
		}
	}
	return ""
}

// access is the hint about rights to a store, which is a directory if the system
// named a file.
func access(err error) string {
	var path *fs.PathError
	var link *os.LinkError
	if errors.As(err, &path) || errors.As(err, &link) {
		return "check the owner and the permissions of the directory, and that it is neither mounted read-only nor immutable"
	}
	return "check the credentials for the bucket (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile) and what they allow"
}
