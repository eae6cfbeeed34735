//go:build e2e

package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/storeurl"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// A repository in each of the four stores, encrypted and not, gives back the same: records with all that they have, configs, groups and ACLs. Of
// an encrypted one neither the names of objects nor their bytes show any of it, though of the others they do; and no output of a program that
// says all that it can shows a secret.
func TestEveryStore(t *testing.T) {
	source, target := guarded(t, cluster.Kafka43), guarded(t, cluster.Kafka43)
	canaries, want := fillCanaries(t, source)
	reader, daemon := newIdentity(t, "reader"), newIdentity(t, "daemon")
	for _, place := range []struct {
		name string
		make func(testing.TB) *repository
	}{{"dir", newRepository}, {"s3", newBucket}, {"gcs", newGCSBucket}, {"azure", newAzureContainer}} {
		t.Run(place.name, func(t *testing.T) {
			r := place.make(t)
			for _, kv := range r.env {
				name, value, _ := strings.Cut(kv, "=")
				t.Setenv(name, value) // for the test's own look at the objects
			}
			secrets := append(r.secrets(), reader.secret(t), daemon.secret(t))
			canaries["who restores"] = `"principal": "os:`
			for _, sealed := range []bool{false, true} {
				r := &repository{t: t, url: r.url + fmt.Sprintf("-%t", sealed), env: r.env}
				backup, read := []string{"once", "--log-level", "debug"}, func(args ...string) []string { return append(args, "--log-level", "debug") }
				if sealed {
					backup = daemon.as(append(backup, "-X", "encryption.recipients=["+reader.recipient+"]")...)
					read = func(args ...string) []string { return reader.as(append(args, "--log-level", "debug")...) }
				}
				copied := canary + "-in-" + place.name + fmt.Sprint("-", sealed)
				text := ""
				for _, c := range []struct {
					program string
					at      *cluster.Cluster
					args    []string
				}{
					{"backupd", source, backup},
					{"restored", nil, read("verify", "--level", "decode")},
					{"restored", source, read("diff")},
					{"restored", target, read("run", "--yes", "--rename", canary+"="+copied, "--metadata", "topics,configs,acls,quotas")},
					{"restored", target, read("compare", "--rename", canary+"="+copied)},
				} {
					o := r.run(c.program, c.at, c.args...)
					text += o.stdout + o.stderr
				}
				requireSame(t, want, readTopic(t, target, copied))
				for _, secret := range secrets {
					if strings.Contains(text, secret) {
						t.Errorf("encrypted %t: a secret is in what the programs say", sealed)
					}
				}
				all := r.visible(t)
				for what, canary := range canaries {
					if found := strings.Contains(all, canary); found == sealed {
						t.Errorf("encrypted %t: %s, %q, can be read: %t", sealed, what, canary, found)
					}
				}
			}
		})
	}
}

// fillCanaries fills a cluster with what nobody must find, and returns that, and what is in the topic.
func fillCanaries(t *testing.T, c *cluster.Cluster) (canaries map[string]string, topic oracle.History) {
	t.Helper()
	canaries = map[string]string{"a config": "86412975", "an open group": canary + "-group", "metadata of an offset": canary + "-metadata", "a principal": canary + "-user", "a client": canary + "-app"}
	createTopic(t, c, canary, 2, configs{"retention.ms": "-1", "delete.retention.ms": canaries["a config"]})
	for _, part := range []string{"key", "value", "header"} {
		canaries["the "+part+" of a record"] = canary + "-" + part
	}
	x := &transaction{client: transactional(t, c, canary+"-txn"), name: canary + "-txn"}
	for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		must(t, x.client.BeginTransaction())
		x.write(t, canary, 1, 100)
		x.end(t, end)
	}
	p := newRawProducer(t, c, canary)
	for i, codec := range codecs {
		header := batch.RecordHeader{Key: []byte(canary + "-header"), Value: nil}
		p.send(0, codec, stamped{int64(i), batch.NewRecord(fmt.Append(nil, canary, "-key"), fmt.Append(nil, canary, "-value"), header)}, stamped{int64(i), batch.NewRecord(nil, nil)})
	}
	topic = readTopic(t, c, canary)
	canaries["the name of a topic"] = canary
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: canary, At: 1, LeaderEpoch: -1, Metadata: canaries["metadata of an offset"]})
	commit(t, c, canaries["an open group"], offsets)
	acl := kmsg.NewCreateACLsRequestCreation()
	acl.ResourceType, acl.ResourceName, acl.ResourcePatternType, acl.Principal = kmsg.ACLResourceTypeTopic, canary, kmsg.ACLResourcePatternTypeLiteral, "User:"+canaries["a principal"]
	acl.Host, acl.Operation, acl.PermissionType = "*", kmsg.ACLOperationRead, kmsg.ACLPermissionTypeAllow
	create := kmsg.NewPtrCreateACLsRequest()
	create.Creations = append(create.Creations, acl)
	if r := request[*kmsg.CreateACLsResponse](t, c.Client(t), create).Results; r[0].ErrorCode != 0 {
		t.Fatalf("create an ACL: %d", r[0].ErrorCode)
	}
	eventually(t, "the ACL", func() bool { return len(acls(t, c)) == 1 })
	client := canaries["a client"]
	quota := kmsg.NewPtrAlterClientQuotasRequest()
	quota.Entries = []kmsg.AlterClientQuotasRequestEntry{{
		Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "client-id", Name: &client}}, Ops: []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Value: 1e9}},
	}}
	if r := request[*kmsg.AlterClientQuotasResponse](t, c.Client(t), quota).Entries; r[0].ErrorCode != 0 {
		t.Fatalf("set a quota: %d", r[0].ErrorCode)
	}
	return canaries, topic
}

// secrets are those in the environment of the programs.
func (r *repository) secrets() (list []string) {
	for _, kv := range r.env {
		switch name, value, _ := strings.Cut(kv, "="); name {
		case "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY":
			list = append(list, value)
		}
	}
	return list
}

// visible is what somebody sees who has nothing but the bucket: the names of the objects, their bytes, and what any of
// them, or a part of it, is decompressed.
func (r *repository) visible(t testing.TB) string {
	t.Helper()
	st, err := storeurl.Open(t.Context(), r.url, storeurl.Options{})
	must(t, err)
	var all strings.Builder
	var keys []string
	must(t, st.List(t.Context(), "", func(i store.Info) error { keys = append(keys, i.Key); return nil }))
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	must(t, err)
	defer dec.Close()
	for _, key := range keys {
		body, err := st.Get(t.Context(), key, 0, -1)
		must(t, err)
		b, err := io.ReadAll(body)
		must(t, err)
		must(t, body.Close())
		fmt.Fprintf(&all, "%s\n%s\n", key, b)
		for at := 0; ; at++ {
			next := bytes.Index(b[at:], []byte{0x28, 0xb5, 0x2f, 0xfd})
			if next < 0 {
				break
			}
			at += next
			text, _ := dec.DecodeAll(b[at:], nil) // what comes behind the frame is an error
			all.Write(text)
		}
	}
	return all.String()
}
