package config

// Rate is a number of bytes a second, written as a Size, or "none" for no limit. 0 is
// one of which nothing was said, which is no limit either unless another counts then.
type Rate int64

// noLimit is what was said to be none.
const noLimit Rate = -1

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rate) UnmarshalText(text []byte) error {
	switch string(text) {
	case "none", "0":
		*r = noLimit
		return nil
	}
	var size Size
	if err := size.UnmarshalText(text); err != nil {
		return err
	}
	*r = Rate(size)
	if size == 0 {
		*r = noLimit
	}
	return nil
}

// Bytes returns how many a second, 0 for no limit.
func (r Rate) Bytes() int64 { return max(0, int64(r)) }

// slowerThan says whether there is a limit which is less than the least allowed.
func (r Rate) slowerThan(least Rate) bool { return r > 0 && r < least }
