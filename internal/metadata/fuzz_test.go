package metadata_test

import (
	"testing"

	"github.com/offsite-kafka/offsite/internal/metadata"
)

// FuzzDecode: what decodes can be encoded, and is the same then.
func FuzzDecode(f *testing.F) {
	f.Add("acls", `[{"host":"*","name":"orders","operation":"Read","pattern":"Literal","permission":"Allow","principal":"User:alice","type":"Topic"}]`)
	f.Add("broker-configs", `{"":{"log.retention.ms":"1000"},"1":{"a":null}}`)
	f.Add("features", `{"metadata.version":27}`)
	f.Add("quotas", `[{"entity":{"client-id":null,"user":"alice"},"values":{"producer_byte_rate":1048576}}]`)
	f.Add("scram-users", `{"alice":{"SCRAM-SHA-512":4096}}`)
	f.Add("transactional-ids", `{"capped":false,"ids":["a"]}`)
	f.Fuzz(func(t *testing.T, kind, text string) {
		content, err := metadata.Decode(metadata.Kind(kind), text)
		if err != nil {
			return
		}
		once, err := metadata.Encode(content)
		if err != nil {
			t.Fatal(err)
		}
		again, err := metadata.Decode(metadata.Kind(kind), once)
		if err != nil {
			t.Fatalf("%s is encoded as %s: %v", text, once, err)
		}
		if twice, err := metadata.Encode(again); err != nil || twice != once {
			t.Errorf("%s, encoded again, is %s: %v", once, twice, err)
		}
	})
}
