package manifest_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/faulty"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// A writer gives an entry up that its store applies later, when the same
// process has opened the log anew: that is no other process. The same entry
// fences whoever else meets it.
func TestOwnEntryAppearsLate(t *testing.T) {
	for name, tc := range map[string]struct {
		foreign bool
		want    error
	}{"to its process": {false, manifest.ErrOvertaken}, "to another process": {true, manifest.ErrFenced}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clean := mem.New()
				begin(t, clean, 1)
				rules := []faulty.Rule{{Op: faulty.Put, Call: 1, Fault: faulty.AppliedLate, Later: 1000}}
				for call := 2; call <= 8; call++ { // as often as Append tries
					rules = append(rules, faulty.Rule{Op: faulty.Put, Call: call, Fault: faulty.Timeout})
				}
				st := faulty.New(clean, rules...)
				r := open(t, st)
				if _, err := openLog(t, r).Append(t.Context(), extend(0, 0, 5)); !errors.Is(err, faulty.ErrInjected) {
					t.Fatalf("got %v", err)
				}
				if tc.foreign {
					r = open(t, clean)
				}
				l := openLog(t, r)
				st.Settle()
				if _, err := l.Append(t.Context(), extend(0, 0, 7)); !errors.Is(err, tc.want) {
					t.Fatalf("got %v, want %v", err, tc.want)
				}
				if _, err := openLog(t, r).Append(t.Context(), extend(0, 5, 9)); err != nil {
					t.Errorf("going on from the log: %v", err)
				}
				if list := commits(t, clean); len(list) != 2 || list[1].from != 5 {
					t.Errorf("the log has %+v", list)
				}
			})
		})
	}
}
