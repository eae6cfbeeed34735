package store

// Sorting tells a store, which does not know what its objects mean, with which of
// them it may do what it otherwise would not. A nil function means none.
type Sorting struct {
	// Bulk objects may be in a cheaper storage class: they are most of the
	// bytes, and seldom read.
	Bulk func(key string) bool
	// Passing objects are removed soon, and not locked.
	Passing func(key string) bool
}

// IsBulk tells whether the object under key is bulk.
func (s Sorting) IsBulk(key string) bool { return s.Bulk != nil && s.Bulk(key) }

// IsPassing tells whether the object under key is passing.
func (s Sorting) IsPassing(key string) bool { return s.Passing != nil && s.Passing(key) }
