package metadata_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/metadata"
)

func TestChanges(t *testing.T) {
	acl := func(principal, topic string) metadata.ACL {
		return metadata.ACL{Host: "*", Name: topic, Operation: "Read", Pattern: "Literal", Permission: "Allow", Principal: principal, Type: "Topic"}
	}
	encode := func(c metadata.Content) string {
		text, err := metadata.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var many metadata.ACLList
	for i := range 8 {
		many = append(many, acl("User:a", fmt.Sprint("t", i)))
	}
	named := func(topics ...string) string {
		for i, topic := range topics {
			topics[i] = `"Allow User:a Read on Literal:Topic:` + topic + ` from *"`
		}
		return strings.Join(topics, ", ")
	}
	for name, c := range map[string]struct {
		kind          metadata.Kind
		was, is, want string
	}{
		"added":              {metadata.ACLs, encode(metadata.ACLList{acl("User:a", "t0")}), encode(many[:2]), "added " + named("t1")},
		"removed":            {metadata.ACLs, encode(many[:2]), encode(many[1:2]), "removed " + named("t0")},
		"replaced":           {metadata.ACLs, encode(many[:2]), encode(many[1:3]), "added " + named("t2") + "; removed " + named("t0")},
		"many":               {metadata.ACLs, `[]`, encode(many), "added " + named("t0", "t1", "t2", "t3", "t4") + " and 3 more"},
		"forged":             {metadata.ACLs, `[]`, encode(metadata.ACLList{acl("User:\"; removed \n", "x")}), `added "Allow User:\"; removed \n Read on Literal:Topic:x from *"`},
		"quota":              {metadata.Quotas, `[]`, `[{"entity":{"user":"alice"},"values":{"x":1.5}}]`, `added "user=\"alice\" x"="1.5"`},
		"another quota":      {metadata.Quotas, `[{"entity":{"user":null},"values":{"x":1}}]`, `[{"entity":{"user":null},"values":{"x":2}}]`, `changed "user=<default> x": "2" instead of "1"`},
		"brokers":            {metadata.BrokerConfigs, `{"":{"a":"1"}}`, `{"":{"a":"2"},"7":{"b":""}}`, `added "broker 7 b"=""; changed "all brokers a": "2" instead of "1"`},
		"a secret":           {metadata.BrokerConfigs, `{"7":{"a":"1"}}`, `{"7":{"a":null,"b":null}}`, `added "broker 7 b"=(sensitive); changed "broker 7 a": (sensitive) instead of "1"`},
		"users":              {metadata.ScramUsers, `{"bob":{"SCRAM-SHA-512":4096}}`, `{}`, `removed "bob SCRAM-SHA-512"="4096"`},
		"feature":            {metadata.Features, `{"metadata.version":27}`, `{"metadata.version":28}`, `changed "metadata.version": "28" instead of "27"`},
		"ids":                {metadata.TransactionalIDs, `{"capped":false,"ids":["a","b"]}`, `{"capped":false,"ids":["a"]}`, "1 instead of 2"},
		"nothing":            {metadata.ACLs, `[]`, `[]`, ""},
		"of a later version": {metadata.ACLs, `[]`, `{"acls":[]}`, "in a form that this version does not know"},
		"of a later kind":    {"delegation-tokens", `[]`, `[1]`, "in a form that this version does not know"},
	} {
		if got := metadata.Changes(c.kind, c.was, c.is); got != c.want {
			t.Errorf("%s: %s\nwant %s", name, got, c.want)
		}
	}
}

// However large the contents are, the line is not.
func TestChangesAreBounded(t *testing.T) {
	long := make(metadata.Configs)
	for i := range 100 {
		value := strings.Repeat("\x00", 1000)
		long[fmt.Sprint(i, strings.Repeat("é", 1000))] = map[string]*string{"name": &value}
	}
	text, err := metadata.Encode(long)
	if err != nil {
		t.Fatal(err)
	}
	if got := metadata.Changes(metadata.GroupConfigs, `{}`, text); len(got) > 10000 || !strings.HasSuffix(got, " and 95 more") {
		t.Errorf("%d bytes: %.300s", len(got), got)
	}
}
