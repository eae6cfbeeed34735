package source

import "slices"

// noteUnmatched names patterns that match no topic of the points: a topic that was
// meant may be spelled differently. Literals that are missing are errors before.
func (p *Plan) noteUnmatched() {
	var names []string
	for _, s := range p.snapshots() {
		for _, i := range s.Incarnations() {
			if !i.Gone {
				names = append(names, i.Name)
			}
		}
	}
	p.noteUnmatchedOf("--topics", p.Request.Topics, names)
	for n := range p.Request.Overrides {
		o := &p.Request.Overrides[n]
		if slices.ContainsFunc(p.Topics, func(t *TopicPlan) bool { return t.override == o }) {
			p.noteUnmatchedOf(o.String(), o.Topics, names)
		}
	}
}

func (p *Plan) noteUnmatchedOf(where string, patterns, names []string) {
	sel, err := parseSelection(patterns)
	if err != nil || sel.names == nil {
		return
	}
	for _, text := range sel.names.Unmatched(names) {
		if text != "*" && text != "!__*" { // the defaults are meant for what may be there
			p.note("%s: %s matches no topic of the point: is it spelled right?", where, text)
		}
	}
}
