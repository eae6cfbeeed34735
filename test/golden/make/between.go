package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
)

// between stands between a client and the only broker of a cluster, and is told of each request before the broker is.
type between struct {
	listener net.Listener
	broker   string
	request  func(key int16, body []byte)
	conns    sync.WaitGroup
}

// standBetween begins to listen.
func standBetween(broker string, request func(key int16, body []byte)) (*between, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &between{listener: listener, broker: broker, request: request}
	b.conns.Go(b.accept)
	return b, nil
}

func (b *between) addr() string { return b.listener.Addr().String() }

// close waits until the clients have gone.
func (b *between) close() {
	b.listener.Close()
	b.conns.Wait()
}

func (b *between) accept() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		broker, err := net.Dial("tcp4", b.broker)
		if err != nil {
			client.Close()
			continue
		}
		b.conns.Go(func() {
			defer broker.Close()
			relay(client, broker, func(frame []byte) []byte {
				b.request(int16(binary.BigEndian.Uint16(frame[4:])), frame[8:])
				return frame
			})
		})
		b.conns.Go(func() {
			defer client.Close()
			relay(broker, client, b.rename)
		})
	}
}

// rename makes the broker call itself what we are called, so that the client stays with us.
func (b *between) rename(frame []byte) []byte {
	return bytes.ReplaceAll(frame, encodeAddr(b.broker), encodeAddr(b.addr()))
}

// encodeAddr returns the end of a host name and the port as Kafka sends them.
func encodeAddr(addr string) []byte {
	host, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.ParseUint(port, 10, 16)
	return binary.BigEndian.AppendUint32([]byte(host), uint32(n))
}

// relay copies frames, each of which has its length before it.
func relay(from io.Reader, to io.Writer, change func([]byte) []byte) {
	for {
		frame := make([]byte, 4)
		if _, err := io.ReadFull(from, frame); err != nil {
			return
		}
		var body bytes.Buffer
		if _, err := io.CopyN(&body, from, int64(binary.BigEndian.Uint32(frame))); err != nil && !errors.Is(err, io.EOF) {
			return
		}
		if _, err := to.Write(change(append(frame, body.Bytes()...))); err != nil {
			return
		}
	}
}
