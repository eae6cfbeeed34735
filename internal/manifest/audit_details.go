package manifest

import (
	"fmt"
	"slices"
)

// KeyChange is what an entry did to the recipients of the keys.
type KeyChange struct {
	Change      string `json:"change"` // init, add, retire
	Role        string `json:"role"`   // reader, writer
	Recipient   string `json:"recipient"`
	Comment     string `json:"comment,omitempty"`
	Generations []int  `json:"generations"` // of the keys, that it is or is no longer a recipient of from then on
}

// The changes of keys.
const (
	keysInit   = "init"
	keysAdd    = "add"
	keysRetire = "retire"
)

func (c *KeyChange) String() string {
	text := fmt.Sprintf("%s %s ", c.Role, c.Recipient)
	if c.Comment != "" {
		text += "(" + Quoted(c.Comment) + ") "
	}
	switch c.Change {
	case keysRetire:
		return text + fmt.Sprintf("is left out from generation %d on", c.Generations[0])
	case keysInit:
		return text + "is a recipient of the first keys"
	}
	return text + fmt.Sprintf("was added to generations %v", c.Generations)
}

// keyChanges says how keys differ from those that were stated before.
func keyChanges(before, now []Generation) (list []KeyChange) {
	for _, role := range []struct {
		name string
		of   func(*Generation) []KeyHolder
	}{
		{"reader", func(g *Generation) []KeyHolder { return g.Readers }},
		{"writer", func(g *Generation) []KeyHolder { return g.Writers }},
	} {
		note := func(change string, h KeyHolder, n int) {
			i := slices.IndexFunc(list, func(c KeyChange) bool {
				return c.Change == change && c.Role == role.name && c.Recipient == h.Recipient
			})
			if i < 0 {
				i, list = len(list), append(list, KeyChange{change, role.name, h.Recipient, h.Comment, nil})
			}
			list[i].Generations = append(list[i].Generations, n)
		}
		for n := range now {
			had, add := []KeyHolder(nil), keysAdd
			switch {
			case n < len(before):
				had = role.of(&before[n])
			case n > 0:
				had = role.of(&now[n-1])
			default:
				add = keysInit
			}
			for _, h := range without(role.of(&now[n]), had) {
				note(add, h, n)
			}
			for _, h := range without(had, role.of(&now[n])) {
				note(keysRetire, h, n)
			}
		}
	}
	return list
}

// without returns those of a list that another one does not have.
func without(list, other []KeyHolder) []KeyHolder {
	return filter(list, func(h KeyHolder) bool {
		return !slices.ContainsFunc(other, func(o KeyHolder) bool { return o.Recipient == h.Recipient })
	})
}

// maxDetails is how many of the same kind an action tells one by one.
const maxDetails = 20

// details says in words what the entry does besides runs and points.
func (e *Entry) details(s *State) (list []string) {
	add := func(n int, what string, text func(i int) string) {
		for i := range min(n, maxDetails) {
			list = append(list, text(i))
		}
		if n > maxDetails {
			list = append(list, fmt.Sprintf("and %d more %s", n-maxDetails, what))
		}
	}
	if e.Moves != nil {
		list = append(list, fmt.Sprintf("ranges of data that moved: %d, to new segments: %d", len(e.Moves.List), len(e.Segments)))
	}
	if e.Losses != nil {
		add(len(e.Losses.List), "ranges", func(i int) string {
			l := &e.Losses.List[i]
			st := &s.Streams[l.Stream]
			return fmt.Sprintf("LOST %s-%d [%d,%d): %s", s.Topics[st.Topic].Name, st.Partition, l.Start, l.Next(), l.Reason)
		})
	}
	add(len(e.Fences), "writers", func(i int) string { return fmt.Sprintf("writer %s may not append any more", e.Fences[i]) })
	if e.Verification != nil {
		list = append(list, e.Verification.words())
	}
	return list
}
