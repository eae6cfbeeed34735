package manifest_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// Reports are pinned once each, whoever looks for them, and what is none is passed over.
func TestReports(t *testing.T) {
	st := mem.New()
	r := begin(t, st, 1)
	agent := manifest.Agent{Program: "backupd 1 pin reports"}
	pin := func(known map[string]bool) int {
		t.Helper()
		n, err := r.PinReports(t.Context(), known, agent, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	daemon := make(map[string]bool)
	if n := pin(daemon); n != 0 || openLog(t, r).State().Sequence != 1 {
		t.Errorf("%d pinned of none", n)
	}
	var keys []string
	for _, result := range []string{"complete", "failed"} {
		key, err := r.PutReport(t.Context(), map[string]string{"result": result}, created)
		if err != nil || !strings.HasPrefix(key, "reports/20261122t033957z-") {
			t.Fatalf("%s, %v", key, err)
		}
		keys = append(keys, key)
	}
	for key, b := range map[string]string{"reports/foreign": "x", "reports/x.json": `{"result":"complete","sha256":""}`} {
		if _, err := st.Put(t.Context(), key, strings.NewReader(b), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := pin(daemon); n != 2 {
		t.Errorf("%d pinned, want 2", n)
	}
	if n := pin(daemon) + pin(map[string]bool{}); n != 0 {
		t.Errorf("%d pinned again", n)
	}
	var pinned []manifest.Report
	state, err := r.Read(t.Context(), 0, func(_ *manifest.State, e *manifest.Entry) error {
		pinned = append(pinned, e.Note.PinnedBy()...)
		return nil
	})
	if err != nil || state.Sequence != 2 || len(pinned) != 2 {
		t.Fatalf("%d entries pin %v, %v", state.Sequence, pinned, err)
	}
	for _, p := range pinned {
		_, b, err := r.ReadReport(t.Context(), p.Key)
		if err != nil || !slices.Contains(keys, p.Key) || manifest.ReportOf(p.Key, b) != p || !json.Valid(b) {
			t.Errorf("%v is pinned, and %q there, %v", p, b, err)
		}
	}
	b, _, err := r.ReadReport(t.Context(), keys[0])
	if err != nil {
		t.Fatal(err)
	}
	altered := strings.Replace(string(b), "complete", "done", 1)
	if _, err := st.Put(context.Background(), keys[0], strings.NewReader(altered), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.ReadReport(t.Context(), keys[0]); !errors.Is(err, manifest.ErrDamaged) {
		t.Errorf("an altered report is read: %v", err)
	}
}

// A report of an encrypted repository says nothing to who has no key, and what somebody puts beside it stops nobody.
func TestSealedReports(t *testing.T) {
	s := newSealed(t)
	r := s.as(t, s.reader)
	if _, err := r.Read(t.Context(), 0, nil); err != nil {
		t.Fatal(err)
	}
	key, err := r.PutReport(t.Context(), map[string]string{"principal": "alice-the-operator"}, created)
	if err != nil {
		t.Fatal(err)
	}
	object := objectAt(t, s.st, key)
	if strings.Contains(string(object), "alice") || strings.Contains(string(object), "principal") {
		t.Errorf("it can be read: %q", object)
	}
	put(t, s.st, "reports/short", object[:3])
	put(t, s.st, "reports/made-up", append([]byte{0xff, 0xff, 0xff, 0xff}, object[4:]...))
	put(t, s.st, "reports/moved", object)
	known := make(map[string]bool)
	if n, err := s.as(t, s.writer).PinReports(t.Context(), known, agentOne, time.Now); err != nil || n != 1 || !known[key] {
		t.Errorf("%d are pinned: %v, %v", n, known, err)
	}
	text, whole, err := s.as(t, s.writer).ReadReport(t.Context(), key)
	if err != nil || !strings.Contains(string(text), "alice-the-operator") || string(whole) != string(object) {
		t.Errorf("%q, %v", text, err)
	}
	if _, _, err := s.as(t, identity(t)).ReadReport(t.Context(), key); err == nil {
		t.Error("somebody else reads it")
	}
}
