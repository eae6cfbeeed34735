package manifest_test

import (
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// Damage that was found is known until everything in which it was looked for was found
// sound, at that level or a deeper one, and so long SinceLast begins there.
func TestKnownDamage(t *testing.T) {
	const sample = manifest.WholeShare / 4
	digest, decode := manifest.LevelDigest, manifest.LevelDecode
	whole := manifest.Verification{Level: digest, First: 1, Last: 4, Share: manifest.WholeShare}
	found := manifest.Verification{Level: digest, First: 1, Last: 4, Share: sample, Damages: 1, Text: "a"}
	with := func(v manifest.Verification, change func(*manifest.Verification)) manifest.Verification {
		change(&v)
		return v
	}
	sound := func(change func(*manifest.Verification)) manifest.Verification { return with(whole, change) }
	for name, tc := range map[string]struct {
		then    []manifest.Verification
		objects int64
		text    string
		through uint64
	}{
		"nothing":             {nil, 1, "a", 0},
		"all of it":           {[]manifest.Verification{whole}, 0, "", 4},
		"deeper":              {[]manifest.Verification{sound(func(v *manifest.Verification) { v.Level = decode })}, 0, "", 4},
		"another sample":      {[]manifest.Verification{with(found, func(v *manifest.Verification) { v.Damages, v.Text = 0, "" })}, 1, "a", 0},
		"what is new":         {[]manifest.Verification{sound(func(v *manifest.Verification) { v.First, v.Last = 5, 5 })}, 1, "a", 0},
		"not to the end":      {[]manifest.Verification{sound(func(v *manifest.Verification) { v.Last = 3 })}, 1, "a", 0},
		"not as deep":         {[]manifest.Verification{sound(func(v *manifest.Verification) { v.Level = manifest.LevelIndex })}, 1, "a", 0},
		"more":                {[]manifest.Verification{with(found, func(v *manifest.Verification) { v.Damages, v.Text = 2, "b" })}, 2, "b", 0},
		"less in a sample":    {[]manifest.Verification{with(found, func(v *manifest.Verification) { v.Damages = 2 }), with(found, func(v *manifest.Verification) { v.Text = "b" })}, 2, "a", 0},
		"less in all of it":   {[]manifest.Verification{with(found, func(v *manifest.Verification) { v.Damages = 2 }), with(whole, func(v *manifest.Verification) { v.Damages, v.Text = 1, "b" })}, 1, "b", 0},
		"more, and then none": {[]manifest.Verification{with(found, func(v *manifest.Verification) { v.First = 3; v.Damages = 2 }), sound(func(v *manifest.Verification) { v.First = 3 })}, 2, "a", 0},
	} {
		t.Run(name, func(t *testing.T) {
			log := openLog(t, begin(t, mem.New(), 1))
			for i := range int64(5) {
				if _, err := log.Append(t.Context(), extend(0, i, i+1)); err != nil {
					t.Fatal(err)
				}
			}
			record := func(list ...manifest.Verification) {
				for _, v := range list {
					if _, err := log.Record(t.Context(), v, manifest.Agent{}); err != nil {
						t.Fatal(err)
					}
				}
			}
			record(whole)
			if got := log.State().SoundThrough(digest); got != 4 {
				t.Errorf("sound through entry %d, want 4", got)
			}
			record(found)
			record(tc.then...)
			known := log.State().Verified[digest].Known
			if known.Objects != tc.objects || known.Text != tc.text || known.Entry > 0 != (tc.objects > 0) {
				t.Errorf("known is %+v, want %d objects, %q", known, tc.objects, tc.text)
			}
			if got := log.State().SoundThrough(digest); got != tc.through {
				t.Errorf("sound through entry %d, want %d", got, tc.through)
			}
			if got := log.State().SoundThrough(manifest.LevelIndex); got < tc.through {
				t.Errorf("the index is sound through entry %d", got)
			}
		})
	}
}
