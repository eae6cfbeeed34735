package pattern_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/pattern"
)

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		name     string
		patterns []string
		selected []string
		left     []string
	}{
		{"nothing given", nil, []string{"orders", "_", "a.b"}, nil},
		{"literal", []string{"orders"}, []string{"orders"}, []string{"orders2", "order", "Orders", ""}},
		{"a dot is a dot", []string{"a.b"}, []string{"a.b"}, []string{"axb", "a_b"}},
		{"star", []string{"orders-*"}, []string{"orders-", "orders-eu", "orders-a.b"}, []string{"orders", "x-orders-eu"}},
		{"star goes over dots", []string{"*"}, []string{"a.b.c", "a"}, nil},
		{"question mark", []string{"p?"}, []string{"p1", "p."}, []string{"p", "p12"}},
		{"class", []string{"p[0-3]"}, []string{"p0", "p3"}, []string{"p4", "p"}},
		{"alternatives", []string{"{a,b}-x"}, []string{"a-x", "b-x"}, []string{"c-x", "{a,b}-x"}},
		{"regular expression", []string{"/orders-[0-9]+/"}, []string{"orders-1", "orders-42"}, []string{"orders-", "orders-x"}},
		{"it matches the whole name", []string{"/b/"}, []string{"b"}, []string{"abc", "ab", "bc"}},
		{"also with alternatives", []string{"/a|b/"}, []string{"a", "b"}, []string{"ax", "xb"}},
		{"also over line ends", []string{"/(?m)^a$/"}, []string{"a"}, []string{"a\nb"}},
		{"also with the shorter one first", []string{"/a|ab|abc?/"}, []string{"a", "ab", "abc"}, []string{"abcd", "xab"}},
		{"also where as little as possible is asked for", []string{"/a+?b*?/"}, []string{"a", "aabb"}, []string{"aba"}},
		{"a quotation without an end", []string{`/\Qa.b/`}, []string{"a.b"}, []string{"axb", "a.bc"}},
		{"excluded", []string{"*", "!secret*"}, []string{"orders"}, []string{"secret", "secrets"}},
		{"excluding ones only", []string{"!a", "!/b+/"}, []string{"c", "ab"}, []string{"a", "b", "bb"}},
		{"exclusion wins in any order", []string{"!a", "a", "b"}, []string{"b"}, []string{"a"}},
		{"spaces around", []string{" a ", " !b "}, []string{"a"}, []string{"b", " a "}},
		{"two slashes are a literal", []string{"//"}, []string{"//"}, []string{"", "/"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := pattern.Parse(tc.patterns)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range tc.selected {
				if !l.Match(name) {
					t.Errorf("%q is not selected", name)
				}
			}
			for _, name := range tc.left {
				if l.Match(name) {
					t.Errorf("%q is selected", name)
				}
			}
		})
	}
}

// The zero value selects nothing: what was never configured must not be captured.
func TestZeroListSelectsNothing(t *testing.T) {
	if (pattern.List{}).Match("a") {
		t.Error("the zero list selects a name")
	}
}

func TestUnmatched(t *testing.T) {
	list, err := pattern.Parse([]string{"orders", "ordres-*", "/o.+s/", "!__*", "!orders", "!late"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := list.Unmatched([]string{"orders", "__x"}), []string{"ordres-*", "!late"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLiterals(t *testing.T) {
	l, err := pattern.Parse([]string{"b", "a", "c*", "/d/", "e", "!e", "!f"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := l.Literals(), []string{"b", "a"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", " ", "!", "! ", "/[/", "!/(/", "[a", "{a", "/a{2,1}/"} {
		if _, err := pattern.Parse([]string{"fine", text}); err == nil || !strings.Contains(err.Error(), "pattern") {
			t.Errorf("%q: got %v, want an error that names the pattern", text, err)
		}
	}
}

func TestSplit(t *testing.T) {
	for text, want := range map[string][]string{
		"a":                    {"a"},
		"a,b-*,!c":             {"a", "b-*", "!c"},
		"a-{b,c}":              {"a-{b,c}"},
		"a-{b,c},!d-{e,{f,g}}": {"a-{b,c}", "!d-{e,{f,g}}"},
		"/a{1,2}/,b":           {"/a{1,2}/", "b"},
		"a},b":                 {"a}", "b"},
		"a{b,c":                {"a{b,c"},
		"a,,b,":                {"a", "", "b", ""},
		"":                     {""},
	} {
		if got := pattern.Split(text); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
