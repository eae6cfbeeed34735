package sink

// Rooms that are kept: how many, and of which sizes in bytes. Smaller ones cost
// little, and larger ones are rare.
const (
	keptRooms    = 8
	smallestRoom = 64 << 10
	largestRoom  = 4 << 20
)

// rooms is memory for sealed blocks that goes round: from an encoder through an
// upload back. To get it anew for each block costs more than to seal it. Methods are
// safe for concurrent use.
type rooms chan []byte

func newRooms() rooms { return make(rooms, keptRooms) }

// take returns a slice of no length with room for n bytes.
func (r rooms) take(n int) []byte {
	if n >= smallestRoom {
		select {
		case room := <-r:
			if cap(room) >= n {
				return room[:0]
			}
		default:
		}
	}
	return make([]byte, 0, n)
}

// give takes back a slice that nobody uses any more, or leaves it to the garbage
// collector.
func (r rooms) give(room []byte) {
	if cap(room) < smallestRoom || cap(room) > largestRoom {
		return
	}
	select {
	case r <- room:
	default:
	}
}
