package remote

import (
	"net"
	"time"
)

// The bounds that tests count on.
const (
	Silence = silence
	Widest  = widest
	MaxWait = maxWait
)

// Watched returns conn as Dial would have returned it.
func Watched(conn net.Conn) net.Conn { return talkative{conn} }

// ShrinkPause is how long a window does not shrink again.
const ShrinkPause time.Duration = shrinkPause
