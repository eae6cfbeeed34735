package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
