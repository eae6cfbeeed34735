// Package pattern selects names by literals, globs and regular expressions.
//
// A pattern is a literal ("orders": a dot is a dot), a glob if it holds one of
// * ? [ { ("orders-*"), or a regular expression between slashes that must
// match the whole name ("/orders-[0-9]+/"). A leading "!" excludes.
package pattern

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gobwas/glob"
)

// List is an ordered set of patterns. A name is selected if one of the
// including patterns matches it and none of the excluding ones.
type List struct {
	include, exclude []pattern
}

type pattern struct {
	text  string
	match func(string) bool // nil for a literal
}

// Parse compiles the patterns. With only excluding ones, everything else is
// selected.
func Parse(texts []string) (List, error) {
	var l List
	for _, text := range texts {
		bare, excluded := strings.CutPrefix(strings.TrimSpace(text), "!")
		p, err := compile(bare)
		if err != nil {
			return List{}, fmt.Errorf("pattern %q: %w", text, err)
		}
		if excluded {
			l.exclude = append(l.exclude, p)
		} else {
			l.include = append(l.include, p)
		}
	}
	if len(l.include) == 0 {
		all, _ := compile("*")
		l.include = []pattern{all}
	}
	return l, nil
}

// Split splits a text at the commas that are not between braces, where they
// belong to a glob or a regular expression.
func Split(text string) []string {
	var list []string
	begin, depth := 0, 0
	for i, c := range text {
		switch {
		case c == '{':
			depth++
		case c == '}':
			depth = max(0, depth-1)
		case c == ',' && depth == 0:
			list = append(list, text[begin:i])
			begin = i + 1
		}
	}
	return append(list, text[begin:])
}

func compile(text string) (pattern, error) {
	switch {
	case text == "":
		return pattern{}, fmt.Errorf("is empty")
	case len(text) > 2 && text[0] == '/' && text[len(text)-1] == '/':
		bare := text[1 : len(text)-1]
		re, err := regexp.Compile(bare)
		if err != nil {
			return pattern{}, err
		}
		// The longest match, rather than anchors around the text: what is whole alone need not be in brackets, as in \Qa.b
		re.Longest()
		return pattern{text, func(name string) bool {
			at := re.FindStringIndex(name)
			return at != nil && at[0] == 0 && at[1] == len(name)
		}}, nil
	case strings.ContainsAny(text, "*?[{"):
		g, err := glob.Compile(text)
		if err != nil {
			return pattern{}, err
		}
		return pattern{text, g.Match}, nil
	}
	return pattern{text, nil}, nil
}

func (p pattern) matches(name string) bool {
	if p.match == nil {
		return p.text == name
	}
	return p.match(name)
}

// Match says whether the name is selected.
func (l List) Match(name string) bool {
	for _, p := range l.exclude {
		if p.matches(name) {
			return false
		}
	}
	for _, p := range l.include {
		if p.matches(name) {
			return true
		}
	}
	return false
}

// Unmatched returns the patterns, as they were written, that match none of the names.
// An excluding one begins with "!".
func (l List) Unmatched(names []string) (texts []string) {
	for _, p := range l.include {
		if !slices.ContainsFunc(names, p.matches) {
			texts = append(texts, p.text)
		}
	}
	for _, p := range l.exclude {
		if !slices.ContainsFunc(names, p.matches) {
			texts = append(texts, "!"+p.text)
		}
	}
	return texts
}

// Literals returns the names that are asked for one by one and not excluded.
func (l List) Literals() []string {
	var names []string
	for _, p := range l.include {
		if p.match == nil && l.Match(p.text) {
			names = append(names, p.text)
		}
	}
	return names
}
