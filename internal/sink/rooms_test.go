package sink

import (
	"bytes"
	"io"
	"testing"

	"github.com/offsite-kafka/offsite/internal/segment"
)

func TestRooms(t *testing.T) {
	r := &rooms{}
	first, second := r.take(smallestRoom), r.take(roomSize)
	if cap(first) != roomSize || cap(second) != roomSize {
		t.Errorf("rooms of %d and %d bytes", cap(first), cap(second))
	}
	r.give(first)
	r.give(append(second, "sealed"...))
	if again := r.take(smallestRoom - 1); len(r.kept) != 2 || cap(again) != smallestRoom-1 {
		t.Error("a small one is taken of those that are kept")
	}
	if larger := r.take(roomSize + 1); len(r.kept) != 2 || cap(larger) <= roomSize {
		t.Error("it is too small")
	}
	for i, want := range [][]byte{second, first} {
		if again := r.take(smallestRoom + i); &again[:1][0] != &want[:1][0] || len(again) != 0 {
			t.Error("what was given back last is not taken first, or is not empty")
		}
	}
	r.give(make([]byte, 0, roomSize-1))
	r.give(make([]byte, 0, roomSize+1))
	if len(r.kept) != 0 {
		t.Errorf("%d are kept that have another size", len(r.kept))
	}
	for range keptRooms + 1 {
		r.give(make([]byte, 0, roomSize))
	}
	if len(r.kept) != keptRooms {
		t.Errorf("%d are kept", len(r.kept))
	}
}

// An upload gives a room back when the store has taken what is in it, and nothing else.
func TestUploadGivesRoomsBack(t *testing.T) {
	for _, test := range []struct {
		what string
		read func(*upload) ([]byte, error)
	}{
		{"Read", func(up *upload) ([]byte, error) { return io.ReadAll(struct{ io.Reader }{up}) }},
		{"WriteTo", func(up *upload) ([]byte, error) { var b bytes.Buffer; _, err := up.WriteTo(&b); return b.Bytes(), err }},
	} {
		up := &upload{ctx: t.Context(), chunks: make(chan chunk, 4), rooms: &rooms{}}
		room := append(up.rooms.take(smallestRoom), "sealed"...)
		for i, stored := range [][]byte{room, bytes.Repeat([]byte("x"), smallestRoom)} {
			up.room = i == 0
			if _, err := up.Write(stored); err != nil {
				t.Fatal(err)
			}
		}
		if len(up.rooms.kept) != 0 {
			t.Error("a room is given back before it was read")
		}
		up.close()
		got, err := test.read(up)
		if err != nil || len(got) != 6+smallestRoom || string(got[:7]) != "sealedx" {
			t.Fatalf("%s: %d bytes, %v", test.what, len(got), err)
		}
		if len(up.rooms.kept) != 1 || &up.rooms.kept[0][:1][0] != &room[0] {
			t.Errorf("%s: the room is not given back, or something else is", test.what)
		}
	}
}

// Only what was sealed into a room of its own goes back to the rooms: other blocks are what was fetched, or zstd's.
func TestBlockInRoom(t *testing.T) {
	for _, test := range []struct {
		block segment.Block
		want  bool
	}{
		{segment.Block{}, false},
		{segment.Block{Codec: segment.Zstd, Key: &segment.Key{}}, false},
		{segment.Block{Codec: segment.Stored, Key: &segment.Key{}}, true},
	} {
		if got := (&block{meta: test.block}).inRoom(); got != test.want {
			t.Errorf("%+v: %t", test.block, got)
		}
	}
}
