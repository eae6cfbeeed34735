package dir

import "os"

// FailCreate makes temporary files come from create.
func (s *Store) FailCreate(create func(root *os.Root, name string) (*os.File, error)) {
	s.create = create
}

// FailSync makes sync stand for fsync.
func (s *Store) FailSync(sync func(*os.File) error) { s.sync = sync }
