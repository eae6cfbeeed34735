package metadata

import (
	"errors"
	"fmt"
	"strings"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// maxNamed is how many settings Changes names of each sort.
const maxNamed = 5

// Changes says in one line what was added, removed and set to something else
// between two contents of a kind: the first few of each, and how many more. It is
// empty where the two list the same. What comes from the cluster is quoted.
func Changes(k Kind, was, is string) string {
	before, err1 := Decode(k, was)
	after, err2 := Decode(k, is)
	if errors.Join(err1, err2) != nil {
		return "in a form that this version does not know"
	}
	there := make(map[Setting]Setting) // by object and name alone
	for _, s := range before.Settings() {
		there[s.place()] = s
	}
	added, removed, changed := sort{name: "added"}, sort{name: "removed"}, sort{name: "changed"}
	for _, s := range after.Settings() {
		old, ok := there[s.place()]
		delete(there, s.place())
		switch {
		case !ok:
			added.add(k.full(s))
		case old != s:
			changed.add(fmt.Sprintf("%s: %s instead of %s", k.label(s), s.shown(), old.shown()))
		}
	}
	for _, s := range before.Settings() {
		if _, gone := there[s.place()]; gone {
			removed.add(k.full(s))
		}
	}
	var parts []string
	for _, x := range []sort{added, removed, changed} {
		if x.count > 0 {
			parts = append(parts, x.String())
		}
	}
	if len(parts) == 0 && before.Len() != after.Len() {
		return fmt.Sprintf("%d instead of %d", after.Len(), before.Len())
	}
	return strings.Join(parts, "; ")
}

// sort is one sort of changes.
type sort struct {
	name  string
	named []string
	count int
}

func (x *sort) add(text string) {
	if x.count++; len(x.named) < maxNamed {
		x.named = append(x.named, text)
	}
}

func (x *sort) String() string {
	text := x.name + " " + strings.Join(x.named, ", ")
	if more := x.count - len(x.named); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// place is the setting without its value.
func (s Setting) place() Setting { return Setting{Object: s.Object, Name: s.Name} }

// shown is the value for people.
func (s Setting) shown() string {
	if s.Secret {
		return "(sensitive)"
	}
	return manifest.Quoted(s.Value)
}

// Owner names what a setting is about.
func (k Kind) Owner(s Setting) string {
	switch {
	case k != BrokerConfigs:
		return s.Object
	case s.Object == "":
		return "all brokers"
	}
	return "broker " + s.Object
}

// label names the setting.
func (k Kind) label(s Setting) string {
	return manifest.Quoted(strings.TrimSpace(k.Owner(s) + " " + s.Name))
}

// full is the setting with its value, where it has one.
func (k Kind) full(s Setting) string {
	if s.Name == "" && s.Value == "" {
		return k.label(s)
	}
	return k.label(s) + "=" + s.shown()
}
