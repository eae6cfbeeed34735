package config

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v4"
)

// decoder puts a YAML tree into a Config and collects everything that is wrong
// with it. The YAML library could decode, too, but it speaks to programmers: of
// Go types and tags, and of an unknown key without its path.
type decoder struct {
	problems []string
	lines    map[string]int // where keys are
}

// decode fills c from the node; keys that are not there keep their value.
func decode(n *yaml.Node, c *Config) (problems []string, lines map[string]int) {
	d := &decoder{lines: make(map[string]int)}
	d.value(n, reflect.ValueOf(c).Elem(), "")
	return d.problems, d.lines
}

// locate adds the line of the key that a problem begins with, or of what the key
// belongs to.
func locate(problem string, lines map[string]int) string {
	key, _, _ := strings.Cut(problem, ": ")
	for key != "" {
		if line := lines[key]; line > 0 {
			return fmt.Sprintf("line %d: %s", line, problem)
		}
		key = key[:max(0, strings.LastIndexByte(key, '.'))]
	}
	return problem
}

func (d *decoder) bad(n *yaml.Node, path, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if path != "" {
		text = path + ": " + text
	}
	if n.Line > 0 {
		text = fmt.Sprintf("line %d: %s", n.Line, text)
	}
	d.problems = append(d.problems, text)
}

// value sets v. Values of secrets can end up in the wrong place, so that no
// text is shown where a mapping or a list belongs.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case n.Kind == yaml.ScalarNode && n.Style == 0 && n.ShortTag() == "!!null":
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, v.Elem(), path)
	case n.Kind == yaml.ScalarNode && v.Addr().Type().Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		d.scalar(n, v, path)
	case v.Kind() == reflect.Struct:
		d.mapping(n, v, path)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path)
	case v.Kind() == reflect.Map:
		d.pairs(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.bad(n, path, "want a mapping (of %s)", strings.Join(keysOf(v.Type()), ", "))
		return
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		if line, twice := seen[key.Value]; twice {
			d.bad(key, at, "is there already, in line %d", line)
			continue
		}
		seen[key.Value], d.lines[at] = key.Line, key.Line
		field := slices.Index(keysOf(v.Type()), key.Value)
		if field < 0 {
			d.bad(key, "", "unknown key %q%s", at, advice(key.Value, keysOf(v.Type())))
			continue
		}
		d.value(n.Content[i+1], v.Field(field), at)
	}
}

// pairs fills a map, whose keys may be any text.
func (d *decoder) pairs(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.bad(n, path, "want a mapping")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		at := path + "." + key.Value
		if v.MapIndex(reflect.ValueOf(key.Value)).IsValid() {
			d.bad(key, at, "is there already, in line %d", d.lines[at])
			continue
		}
		d.lines[at] = key.Line
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(n.Content[i+1], value, at)
		v.SetMapIndex(reflect.ValueOf(key.Value), value)
	}
}

// list accepts a single value for a list of one. Mappings in it are told by their
// number, from 0.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	nodes := n.Content
	if n.Kind == yaml.ScalarNode {
		nodes = []*yaml.Node{n}
	} else if n.Kind != yaml.SequenceNode {
		d.bad(n, path, "want a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(nodes), len(nodes)))
	for i, item := range nodes {
		at := path
		if v.Type().Elem().Kind() == reflect.Struct {
			at = fmt.Sprintf("%s[%d]", path, i)
			d.lines[at] = item.Line
		}
		d.value(item, v.Index(i), at)
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.bad(n, path, "want a single value")
		return
	}
	text, err := expand(n.Value)
	if err != nil {
		d.bad(n, path, "%v", err)
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			d.bad(n, path, "%v", err)
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			d.bad(n, path, "%q is neither true nor false", text)
			return
		}
		v.SetBool(text == "true")
	case reflect.Int:
		number, err := strconv.Atoi(text)
		if err != nil {
			d.bad(n, path, "%q is not a number", text)
			return
		}
		v.SetInt(int64(number))
	default:
		panic(fmt.Sprintf("config: internal error: %s is of type %s", path, v.Type()))
	}
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\}`)

// expand replaces ${NAME} and ${NAME:-default} by environment variables.
func expand(text string) (string, error) {
	var errs []error
	out := variable.ReplaceAllStringFunc(text, func(m string) string {
		sub := variable.FindStringSubmatch(m)
		if v, ok := os.LookupEnv(sub[1]); ok {
			return v
		}
		if sub[2] != "" {
			return sub[2][len(":-"):]
		}
		errs = append(errs, fmt.Errorf("environment variable %s is not set (a default can be given: ${%s:-…})", sub[1], sub[1]))
		return m
	})
	return out, errors.Join(errs...)
}

// keysOf returns the keys of a mapping in the order of its fields.
func keysOf(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i] = t.Field(i).Tag.Get("yaml")
	}
	return keys
}

// elsewhere says where things belong that people look for in the file.
var elsewhere = map[string]string{
	"password": "the password comes from passwordFile, or from the environment variable " + PasswordVariable,
}

// advice guesses what was meant by an unknown key.
func advice(key string, known []string) string {
	if text, ok := elsewhere[strings.ToLower(key)]; ok {
		return "; " + text
	}
	distances := make(map[int]string)
	for _, k := range known {
		distances[levenshtein.ComputeDistance(strings.ToLower(key), strings.ToLower(k))] = k
	}
	least := slices.Min(slices.Collect(maps.Keys(distances)))
	if least < min(4, len(key)) {
		return fmt.Sprintf("; did you mean %q?", distances[least])
	}
	return "; known here: " + strings.Join(known, ", ")
}
