package manifest_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

func metadata(kindsAndContents ...string) (list []manifest.MetadataChange) {
	for i := 0; i < len(kindsAndContents); i += 2 {
		c := manifest.MetadataChange{Kind: kindsAndContents[i]}
		if content := kindsAndContents[i+1]; content != "" {
			c.Content = &content
		}
		list = append(list, c)
	}
	return list
}

func TestMetadataSection(t *testing.T) {
	want := &manifest.Entry{Sequence: 1, Metadata: metadata("acls", `[]`, "quotas", "", "zeta", `{"ä":1}`)}
	got, err := manifest.DecodeEntry(mustEncode(t, want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v (%v)\nwant %+v", got, err, want)
	}
}

func TestMetadataRefused(t *testing.T) {
	for name, list := range map[string][]manifest.MetadataChange{
		"out of order": metadata("quotas", `[]`, "acls", `[]`),
		"twice":        metadata("acls", `[]`, "acls", `[]`),
		"too long":     metadata("acls", strings.Repeat("x", manifest.MaxMetadata+1)),
		"not UTF-8":    metadata("acls", "\xff"),
	} {
		if _, err := manifest.DecodeEntry(mustEncode(t, &manifest.Entry{Sequence: 1, Metadata: list})); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := manifest.DecodeEntry(mustEncode(t, &manifest.Entry{Sequence: 1, Metadata: metadata("acls", strings.Repeat("x", manifest.MaxMetadata))})); err != nil {
		t.Errorf("as long as allowed: %v", err)
	}
}

// The state has the last content of each kind, and since when.
func TestMetadataOfState(t *testing.T) {
	s := manifest.NewState()
	for i, list := range [][]manifest.MetadataChange{
		metadata("acls", `["a"]`, "quotas", `[]`), nil, metadata("acls", `["b"]`, "features", ""), metadata("quotas", ""),
	} {
		e := &manifest.Entry{Sequence: uint64(i + 1), Time: int64(10 * i), Metadata: list}
		if err := s.Check(e); err != nil {
			t.Fatal(err)
		}
		s.Apply(e, manifest.Digest{})
	}
	b := `["b"]`
	want := map[string]manifest.Metadata{
		"acls":     {Content: &b, Sequence: 3, Time: 20},
		"features": {Sequence: 3, Time: 20},
		"quotas":   {Sequence: 4, Time: 30},
	}
	if !reflect.DeepEqual(s.Metadata, want) {
		t.Errorf("got  %+v\nwant %+v", s.Metadata, want)
	}
}
