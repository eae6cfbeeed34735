package manifest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// audited makes a repository with points, one of which somebody deletes for a reason.
func audited(t *testing.T) *mem.Store {
	t.Helper()
	st := mem.New()
	r := begin(t, st, 1)
	daemon := openLog(t, r)
	daemon.Agent = &manifest.Agent{Program: "backupd 1 run", Host: "h", Principal: "kafka"}
	for _, name := range []string{"a", ""} {
		if _, err := daemon.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) {
			return &manifest.Entry{Point: &manifest.Point{Name: name}}, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	person := openLog(t, r)
	person.Agent = &manifest.Agent{Program: "backupd 1 point delete", Host: "h", Principal: "os:alice"}
	person.Note, _ = manifest.NewNote("point", map[string]string{"reason": "why not"})
	find := func(s *manifest.State) (manifest.PointRef, error) { return s.Points[0], nil }
	if _, err := person.DeletePoint(t.Context(), find); err != nil {
		t.Fatal(err)
	}
	if _, err := person.PinPoint(t.Context(), find, true); err != nil {
		t.Fatal(err)
	}
	return st
}

func TestAudit(t *testing.T) {
	r := open(t, audited(t))
	var got []string
	head, err := r.Audit(t.Context(), nil, func(a manifest.Action) {
		text := fmt.Sprintf("%d %s %d%s", a.Head.Sequence, a.Kind, a.Point, a.Name)
		if a.Agent != nil {
			text += " by " + a.Agent.Principal
		}
		if a.Note != nil {
			text += " " + a.Note.Text
		}
		got = append(got, text)
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"2 run 0 by kafka", "2 point 2a by kafka", "3 point 3 by kafka",
		`4 run 0 by os:alice {"reason":"why not"}`, `4 delete 2a by os:alice {"reason":"why not"}`, "5 pin 3 by os:alice",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	state, err := r.Read(t.Context(), 0, nil)
	if err != nil || head != state.HeadNow() {
		t.Errorf("head %s, %v, want %s", head, err, state.HeadNow())
	}
	if state.Agent.Program != "backupd 1 run" {
		t.Errorf("who captures is %q: whoever only changes points must not take its place", state.Agent.Program)
	}
}

func TestKeptHead(t *testing.T) {
	st := audited(t)
	r := open(t, st)
	heads := []manifest.Head{}
	if _, err := r.Read(t.Context(), 0, func(s *manifest.State, _ *manifest.Entry) error {
		heads = append(heads, s.HeadNow())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	check := func(r *manifest.Repository, h manifest.Head) error {
		t.Helper()
		again, err := manifest.ParseHead(h.String())
		if err != nil || again != h {
			t.Fatalf("%s is read as %s, %v", h, again, err)
		}
		_, err = r.Audit(t.Context(), &h, func(manifest.Action) {})
		return err
	}
	for _, h := range heads {
		if err := check(r, h); err != nil {
			t.Errorf("%s: %v", h, err)
		}
		h.Digest[7] ^= 1
		if err := check(r, h); !errors.Is(err, manifest.ErrHead) {
			t.Errorf("another entry %d: %v", h.Sequence, err)
		}
	}
	last := heads[len(heads)-1]
	if err := st.Delete(t.Context(), manifest.LogKey(last.Sequence)); err != nil {
		t.Fatal(err)
	}
	if err := check(r, last); !errors.Is(err, manifest.ErrDamaged) {
		t.Errorf("without its last entry, for the process that has read it: %v", err)
	}
	r = open(t, st)
	if err := check(r, last); !errors.Is(err, manifest.ErrHead) || !strings.Contains(err.Error(), "ends with entry 4") {
		t.Errorf("without its last entry: %v", err)
	}
	if err := check(r, heads[3]); err != nil {
		t.Errorf("an older head: %v", err)
	}
	if err := check(begin(t, mem.New(), 1), heads[0]); !errors.Is(err, manifest.ErrHead) {
		t.Errorf("another repository: %v", err)
	}
	for _, text := range []string{"", "5", "5:", "x:" + heads[0].Digest.String(), heads[0].String() + "00", "-1:" + heads[0].Digest.String()} {
		if h, err := manifest.ParseHead(text); err == nil {
			t.Errorf("%q is read as %s", text, h)
		}
	}
}

func TestNoteBounds(t *testing.T) {
	str := func(s string) []byte { return append(uv(uint64(len(s))), s...) }
	for _, tc := range []struct {
		name, kind, text string
		ok               bool
	}{
		{"object", "point", `{"reason":"x"}`, true},
		{"empty object", "a-b", "{}", true},
		{"no kind", "", "{}", false},
		{"strange kind", "Point", "{}", false},
		{"no text", "point", "", false},
		{"null", "point", "null", false},
		{"list", "point", "[]", false},
		{"two", "point", "{}{}", false},
	} {
		_, err := manifest.DecodeEntry(plain(section(130, str(tc.kind), str(tc.text))))
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := manifest.NewNote("point", strings.Repeat("x", 2<<20)); err == nil {
		t.Error("a note above the limit")
	}
}
