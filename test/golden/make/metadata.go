package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// authorized has ACLs.
var authorized = map[string]string{
	"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:ANONYMOUS",
}

// metadata has every kind of metadata, some of which change between two points. What is expected is written down here in the form of
// docs/format.md, but for the features, which are asked of the broker.
func metadata(s *source) {
	s.create("orders", 1, nil)
	s.allow(kadm.NewACLs().Topics("orders").ResourcePatternType(kadm.ACLPatternPrefixed).Allow("User:<älice>").AllowHosts("*").Operations(kadm.OpRead))
	s.allow(kadm.NewACLs().Clusters().Deny("User:*").DenyHosts("10.0.0.1").Operations(kadm.OpAll))
	user, id := "<älice>", "ünïcödé"
	s.quota(map[string]*string{"user": &user, "client-id": nil}, "producer_byte_rate", 1048576)
	s.quota(map[string]*string{"user": nil, "client-id": &id}, "request_percentage", 12.5)
	s.configure(kmsg.ConfigResourceTypeBroker, "", "log.retention.ms", "604800000")
	s.configure(kmsg.ConfigResourceTypeBroker, "0", "listener.name.plaintext.plain.sasl.jaas.config", `org.apache.kafka.common.security.plain.PlainLoginModule required user_a="b";`)
	s.configure(kmsg.ConfigResourceTypeGroupConfig, "billing", "consumer.session.timeout.ms", "50000")
	s.configure(kmsg.ConfigResourceTypeClientMetrics, "all", "interval.ms", "60000")
	s.user("bob", 5000)
	s.transaction("tx-1")
	want := map[string]string{ // of the brokers' settings, Kafka itself makes min.insync.replicas
		"acls": `[{"host":"10.0.0.1","name":"kafka-cluster","operation":"All","pattern":"Literal","permission":"Deny","principal":"User:*","type":"Cluster"},` +
			`{"host":"*","name":"orders","operation":"Read","pattern":"Prefixed","permission":"Allow","principal":"User:<älice>","type":"Topic"}]`,
		"broker-configs":    `{"":{"log.retention.ms":"604800000","min.insync.replicas":"1"},"0":{"listener.name.plaintext.plain.sasl.jaas.config":null}}`,
		"client-metrics":    `{"all":{"interval.ms":"60000"}}`,
		"features":          s.features(),
		"group-configs":     `{"billing":{"consumer.session.timeout.ms":"50000"}}`,
		"quotas":            `[{"entity":{"client-id":"ünïcödé","user":null},"values":{"request_percentage":12.5}},{"entity":{"client-id":null,"user":"<älice>"},"values":{"producer_byte_rate":1048576}}]`,
		"scram-users":       `{"bob":{"SCRAM-SHA-512":5000}}`,
		"transactional-ids": `{"capped":false,"ids":["tx-1"]}`,
	}
	s.writeMetadata(s.quietPoint(), want)

	s.allow(kadm.NewACLs().Groups("*").ResourcePatternType(kadm.ACLPatternLiteral).Allow("User:bob").AllowHosts("*").Operations(kadm.OpDescribe))
	s.configure(kmsg.ConfigResourceTypeBroker, "", "log.retention.ms", "86400000")
	s.transaction("tx-0")
	want["acls"] = strings.Replace(want["acls"], `{"host":"*","name":"orders"`,
		`{"host":"*","name":"*","operation":"Describe","pattern":"Literal","permission":"Allow","principal":"User:bob","type":"Group"},{"host":"*","name":"orders"`, 1)
	want["broker-configs"] = strings.Replace(want["broker-configs"], "604800000", "86400000", 1)
	want["transactional-ids"] = `{"capped":false,"ids":["tx-0","tx-1"]}`
	s.writeMetadata(s.quietPoint(), want)
}

// writeMetadata writes what a point must know beside the repository.
func (s *source) writeMetadata(p *point, want map[string]string) {
	if s.err != nil {
		return
	}
	var lines strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(want)) {
		fmt.Fprintf(&lines, `{"kind":"metadata","name":"%s","content":%s}`+"\n", kind, want[kind])
	}
	s.fail("write", os.WriteFile(filepath.Join(s.dir, fmt.Sprintf("metadata-%d.jsonl", p.id)), []byte(lines.String()), 0o644))
}

func (s *source) allow(acl *kadm.ACLBuilder) {
	if s.err != nil {
		return
	}
	results, err := s.admin.CreateACLs(s.ctx, acl)
	for _, r := range results {
		s.fail("create acl", r.Err)
	}
	s.fail("create acl", err)
}

func (s *source) quota(entity map[string]*string, key string, value float64) {
	if s.err != nil {
		return
	}
	entry := kmsg.AlterClientQuotasRequestEntry{Ops: []kmsg.AlterClientQuotasRequestEntryOp{{Key: key, Value: value}}}
	for kind, name := range entity {
		entry.Entity = append(entry.Entity, kmsg.AlterClientQuotasRequestEntryEntity{Type: kind, Name: name})
	}
	req := kmsg.NewPtrAlterClientQuotasRequest()
	req.Entries = append(req.Entries, entry)
	resp, err := req.RequestWith(s.ctx, s.client)
	if err == nil && resp.Entries[0].ErrorCode != 0 {
		err = fmt.Errorf("error code %d", resp.Entries[0].ErrorCode)
	}
	s.fail("set quota", err)
}

func (s *source) configure(kind kmsg.ConfigResourceType, resource, name, value string) {
	if s.err != nil {
		return
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{
		ResourceType: kind, ResourceName: resource, Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: name, Value: &value}},
	}}
	resp, err := req.RequestWith(s.ctx, s.client)
	if err == nil && resp.Resources[0].ErrorCode != 0 {
		err = fmt.Errorf("error code %d", resp.Resources[0].ErrorCode)
	}
	s.fail("set "+name, err)
}

func (s *source) user(name string, iterations int32) {
	if s.err != nil {
		return
	}
	_, err := s.admin.AlterUserSCRAMs(s.ctx, nil, []kadm.UpsertSCRAM{{User: name, Mechanism: kadm.ScramSha512, Iterations: iterations, Password: "secret"}})
	s.fail("add user", err)
}

// transaction commits one record.
func (s *source) transaction(id string) {
	if s.err != nil {
		return
	}
	client, err := s.newClient(kgo.TransactionalID(id))
	s.fail("connect", err)
	defer client.Close()
	s.fail("begin", client.BeginTransaction())
	s.produce(client, "orders", 0, textRecords(id, 1)...)
	s.fail("commit", client.EndTransaction(s.ctx, kgo.TryCommit))
}

// features asks the broker.
func (s *source) features() string {
	if s.err != nil {
		return ""
	}
	answers, err := s.admin.ApiVersions(s.ctx)
	s.fail("read features", err)
	var levels []string
	answers.Each(func(v kadm.BrokerApiVersions) {
		for _, f := range v.Raw().FinalizedFeatures {
			levels = append(levels, fmt.Sprintf("%q:%d", f.Name, f.MaxVersionLevel))
		}
	})
	slices.Sort(levels)
	return "{" + strings.Join(levels, ",") + "}"
}
