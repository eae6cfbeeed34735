package sink

import "sync"

// Rooms have one size, which is enough for a block as it is normally closed (see
// Config.BlockBytes and smallPiece) with its tag. Memory for blocks below
// smallestRoom costs little, and larger blocks are rare.
const (
	keptRooms    = 8
	smallestRoom = 64 << 10
	roomSize     = 1<<20 + smallPiece + 4<<10
)

// rooms is memory for sealed blocks that goes round: from an encoder through an
// upload back. To get it anew for each block costs more than to seal it. What was
// given back last is taken first: it is the likeliest to be in a cache. Methods are
// safe for concurrent use.
type rooms struct {
	mu   sync.Mutex
	kept [][]byte
}

// take returns a slice of no length with room for n bytes.
func (r *rooms) take(n int) []byte {
	if n < smallestRoom || n > roomSize {
		return make([]byte, 0, n)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	last := len(r.kept) - 1
	if last < 0 {
		return make([]byte, 0, roomSize)
	}
	room := r.kept[last]
	r.kept = r.kept[:last]
	return room
}

// give takes back a slice that nobody uses any more, or leaves it to the garbage
// collector.
func (r *rooms) give(room []byte) {
	if cap(room) != roomSize {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) < keptRooms {
		r.kept = append(r.kept, room[:0])
	}
}
