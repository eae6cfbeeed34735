package sink

import (
	"bytes"
	"io"
	"testing"

	"github.com/offsite-kafka/offsite/internal/segment"
)

func TestRooms(t *testing.T) {
	r := newRooms()
	first := r.take(smallestRoom)
	r.give(first)
	if again := r.take(smallestRoom - 1); len(r) != 1 || cap(again) != smallestRoom-1 {
		t.Error("a small one is taken of those that are kept")
	}
	again := r.take(smallestRoom)
	if &first[:1][0] != &again[:1][0] || len(again) != 0 {
		t.Error("what was given back is not taken again")
	}
	r.give(again)
	if larger := r.take(smallestRoom + 1); cap(larger) <= smallestRoom || len(r) != 0 {
		t.Error("it is too small")
	}
	r.give(make([]byte, 0, smallestRoom-1))
	r.give(make([]byte, 0, largestRoom+1))
	if len(r) != 0 {
		t.Errorf("%d are kept that are too small or too large", len(r))
	}
	for range keptRooms + 1 {
		r.give(make([]byte, 0, smallestRoom))
	}
	if len(r) != keptRooms {
		t.Errorf("%d are kept", len(r))
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
		up := &upload{ctx: t.Context(), chunks: make(chan chunk, 4), rooms: newRooms()}
		room := append(up.rooms.take(smallestRoom), "sealed"...)
		for i, stored := range [][]byte{room, bytes.Repeat([]byte("x"), smallestRoom)} {
			up.room = i == 0
			if _, err := up.Write(stored); err != nil {
				t.Fatal(err)
			}
		}
		if len(up.rooms) != 0 {
			t.Error("a room is given back before it was read")
		}
		up.close()
		got, err := test.read(up)
		if err != nil || len(got) != 6+smallestRoom || string(got[:7]) != "sealedx" {
			t.Fatalf("%s: %d bytes, %v", test.what, len(got), err)
		}
		if len(up.rooms) != 1 || &(<-up.rooms)[:1][0] != &room[0] {
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
