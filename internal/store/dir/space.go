package dir

import (
	"context"
	"fmt"
	"syscall"

	"github.com/offsite-kafka/offsite/internal/store"
)

var _ store.Spacer = (*Store)(nil)

// Space returns what the file system of the directory has for this user.
func (s *Store) Space(context.Context) (free, of int64, err error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.path, &fs); err != nil {
		return 0, 0, fmt.Errorf("look for free space: %w", classify(err))
	}
	return int64(fs.Bavail) * int64(fs.Bsize), int64(fs.Blocks) * int64(fs.Bsize), nil
}
