package main

import (
	"encoding/json"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

func TestNotedInWords(t *testing.T) {
	for _, tc := range []struct{ kind, note, want string }{
		{"prune", `{"points":{"kept":2,"dropped":1},"rules":[{"rule":"daily","kept":2,"dropped":0},{"rule":"older than the window of 24h0m0s","kept":0,"dropped":1}],"removed":{"segments":3,"bytes":2048}}`,
			"points: 1 dropped (older than the window of 24h0m0s: 1), 2 kept (daily: 2); removed 2.0 KiB"},
		{"prune", `{"deleted":{"segments":3,"bytes":2048},"refused":2,"force":true,"dropPins":["abc"]}`, "deleted 2.0 KiB; 2 objects not deleted; --force; --drop-pin abc"},
		{"sweep", `{"orphans":1,"bytes":100,"spared":2,"fenced":1}`, "1 orphan to delete, 100 B; 2 others spared"},
		{"repair", `{"mended":["data/1"]}`, `{"mended":["data/1"]}`},
		{"prune", `{"points":7}`, `{"points":7}`},
	} {
		if got := (&action{Kind: manifest.ActionKind(tc.kind), Note: json.RawMessage(tc.note)}).noted(); got != tc.want {
			t.Errorf("%s %s is %q, want %q", tc.kind, tc.note, got, tc.want)
		}
	}
}
