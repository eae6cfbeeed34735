package port_test

import (
	"net"
	"testing"

	"github.com/offsite-kafka/offsite/test/bed/port"
)

func hold(t *testing.T) *port.Held {
	t.Helper()
	held, err := port.Hold()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(held.Release)
	return held
}

func TestServerCanListenAgainAndAgain(t *testing.T) {
	held := hold(t)
	for range 3 {
		listener, err := net.Listen("tcp4", held.Addr())
		if err != nil {
			t.Fatalf("listen on held port: %v", err)
		}
		conn, err := net.Dial("tcp4", held.Addr())
		if err != nil {
			t.Fatalf("dial: %v", err)
		}
		conn.Close()
		listener.Close()
	}
}

func TestConnectionIsRefusedWhileNobodyListens(t *testing.T) {
	held := hold(t)
	if conn, err := net.Dial("tcp4", held.Addr()); err == nil {
		conn.Close()
		t.Error("a connection to a held port was accepted")
	}
}

func TestHeldPortsAreNotGivenToOthers(t *testing.T) {
	held := map[int]bool{}
	for range 500 {
		number := hold(t).Number()
		if held[number] {
			t.Fatalf("port %d is held twice", number)
		}
		held[number] = true
	}
	for range 500 {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		if number := listener.Addr().(*net.TCPAddr).Port; held[number] {
			t.Fatalf("a server that asked for any port got held port %d", number)
		}
	}
}
