package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// mergeable is how many backups it takes until there is something to merge, and a snapshot of the log.
const mergeable = 14

// rounds backs up as often, with a few records before each, in both partitions and of two codecs.
func (s *source) rounds(topic string) (points []*point) {
	for n := range mergeable {
		label := fmt.Sprint("round ", n)
		s.produce(s.client, topic, 0, textRecords(label, 2)...)
		if n%3 > 0 {
			s.produce(s.client, topic, 1, textRecords(label, 1)...)
		}
		points = append(points, s.quietPoint())
	}
	return points
}

// upkeep has been merged and pruned; it has snapshots of its log, a point that is held, and notes.
func upkeep(s *source) {
	const topic = "kept"
	s.flags = []string{"-X", "snapshots.every=10"}
	s.create(topic, 2, nil)
	points := s.rounds(topic)
	if s.err != nil {
		return
	}
	held := points[4]
	s.run("point", "hold", fmt.Sprint(held.id), "--reason", "an audit")
	s.run("merge", "-X", "merge.minAge=0s")
	s.trim(topic, 0, 20) // so that points to come need nothing of what the held one does not
	s.produce(s.client, topic, 1, textRecords("behind", 3)...)
	kept := s.quietPoint()
	s.run("prune", "-X", "retention.keep.last=1", "-X", "retention.grace=0s", "--force")
	s.run("prune", "-X", "retention.keep.last=1", "-X", "retention.grace=0s", "--force")
	s.produce(s.client, topic, 0, textRecords("newest", 3)...)
	newest := s.quietPoint()
	s.points = slices.DeleteFunc(s.points, func(p *point) bool { return p != held && p != kept && p != newest })
}

// sealed is encrypted for a first reader, later for a second, and signed. Blocks of several keys have been merged. The repository is in the folder
// encrypted; beside it are reader.txt and writer.txt, the identities of the second reader and of backupd, and signing.txt, the public key.
func sealed(s *source) {
	const topic = "sealed"
	s.folder = "encrypted"
	key := func(name string, flags ...string) (file, public string) {
		file = filepath.Join(s.dir, name)
		var made struct{ Recipient, PublicKey string }
		if out := s.run(append([]string{"key", "generate", "--file", file}, flags...)...); s.err == nil {
			s.fail("generate a key", json.Unmarshal(out, &made))
		}
		return file, made.Recipient + made.PublicKey
	}
	s.fail("make a folder", os.MkdirAll(s.dir, 0o755))
	first, firstReader := key("first.txt")
	_, reader := key("reader.txt")
	writer, _ := key("writer.txt")
	signing, public := key("signing.pem", "--signing")
	as := func(recipient, identity string) {
		s.flags = []string{"-X", "encryption.recipients=[" + recipient + "]", "-X", "encryption.identityFile=" + identity, "-X", "signing.keyFile=" + signing, "-X", "snapshots.every=10"}
	}
	s.create(topic, 2, nil)
	as(firstReader, writer)
	s.produce(s.client, topic, 0, textRecords("of the first keys", 3)...)
	one := s.quietPoint()
	as(firstReader, first)
	s.run("key", "add", reader, "--comment", "the second reader")
	as(reader, writer)
	s.run("key", "retire", firstReader)
	s.rounds(topic)
	s.run("merge", "-X", "merge.minAge=0s")
	s.produce(s.client, topic, 1, textRecords("behind", 2)...)
	newest := s.quietPoint()
	s.points = slices.DeleteFunc(s.points, func(p *point) bool { return p != one && p != newest })
	s.fail("write the public key", os.WriteFile(filepath.Join(s.dir, "signing.txt"), []byte(strings.TrimSpace(public)+"\n"), 0o644))
	s.fail("remove", os.Remove(first))
	s.fail("remove", os.Remove(signing))
}

// recompressed has been merged into re-encoded blocks: batches of each codec, plain ones and such of transactions.
func recompressed(s *source) {
	s.create(payments, 2, nil)
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	for n := range mergeable {
		x := s.begin(fmt.Sprint("round-", n), codecs[n%len(codecs)])
		x.write(int32(n%2), 12)
		x.end(kgo.TransactionEndTry(n%3 > 0))
		if x.client != nil {
			x.client.Close()
		}
		s.produceBy(codecs[(n+1)%len(codecs)], payments, int32(n%2), textRecords(fmt.Sprint("plain ", n), 30)...)
		s.quietPoint()
	}
	s.run("merge", "--recompress", "-X", "merge.minAge=0s")
	s.produce(s.client, payments, 0, textRecords("behind", 2)...)
	s.quietPoint()
	if n := len(s.points); n > 0 {
		s.points = []*point{s.points[n-2], s.points[n-1]}
	}
}

// quarantined had a segment damaged. One block of it is lost, since the source had deleted its records by then; what else is in it was moved. The newest
// point needs nothing of what is lost.
func quarantined(s *source) {
	const topic, other = "damaged", "whole"
	s.create(topic, 1, nil)
	s.create(other, 1, nil)
	s.produceBy(kgo.Lz4Compression(), topic, 0, textRecords("to be lost", 5)...)
	s.produce(s.client, other, 0, textRecords("moved", 5)...)
	s.quietPoint()
	s.produce(s.client, topic, 0, textRecords("behind", 5)...)
	s.quietPoint()
	s.damage("to be lost")
	s.trim(topic, 0, 5)
	newest := s.quietPoint()
	s.runFor(exitQuarantined, "repair", "--bootstrap-server", s.bootstrap())
	s.points = []*point{newest}
}

// exitQuarantined: backupd has given something up.
const exitQuarantined = 5

// produceBy appends the records to a partition, as one batch that is compressed.
func (s *source) produceBy(codec kgo.CompressionCodec, topic string, partition int32, records ...*kgo.Record) {
	client, err := s.newClient(kgo.ProducerBatchCompression(codec))
	if err != nil {
		s.fail("connect", err)
		return
	}
	defer client.Close()
	s.produce(client, topic, partition, records...)
}

// damage flips a bit of the segment in which a text is to be read.
func (s *source) damage(text string) {
	files, err := filepath.Glob(filepath.Join(s.dir, s.folder, "data", "*", "*"))
	s.fail("list segments", err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		s.fail("read", err)
		if i := bytes.Index(b, []byte(text)); i >= 0 {
			b[i] ^= 1
			s.fail("remove", os.Remove(f))
			s.fail("damage", os.WriteFile(f, b, 0o444))
			return
		}
	}
	s.fail("damage", fmt.Errorf("%q is in no segment", text))
}
