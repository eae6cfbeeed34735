// Package docs_test holds the pages against the programs.
package docs_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/config"
)

func page(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every key of the configuration is in the page with its default, and the page has no other keys.
func TestConfigKeys(t *testing.T) {
	documented := make(map[string]string)
	for _, m := range regexp.MustCompile("(?m)^\\| `([\\w.]+)` \\| `?([^`|]*?)`? \\|").FindAllStringSubmatch(page(t, "config.md"), -1) {
		documented[m[1]] = m[2]
	}
	want := make(map[string]string)
	addKeys(want, "", reflect.ValueOf(*config.Default()))
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got, ok := documented[key]; !ok {
			t.Errorf("key %s is not in the page", key)
		} else if got != want[key] {
			t.Errorf("key %s: the page says that the default is %s, it is %s", key, got, want[key])
		}
		delete(documented, key)
	}
	for key := range documented {
		t.Errorf("the page has a key %s, which is none", key)
	}
}

// addKeys adds the keys of a struct, by their dotted paths, with their values as the page writes them. Mappings that can
// be left out as a whole are keys themselves.
func addKeys(keys map[string]string, prefix string, v reflect.Value) {
	for i := range v.NumField() {
		field, key := v.Field(i), prefix+v.Type().Field(i).Tag.Get("yaml")
		if field.Kind() == reflect.Pointer {
			keys[key] = "none"
			field = reflect.New(field.Type().Elem()).Elem()
		}
		if field.Kind() == reflect.Struct {
			addKeys(keys, key+".", field)
			continue
		}
		if field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct {
			addKeys(keys, key+".", reflect.New(field.Type().Elem()).Elem())
		}
		keys[key] = written(field.Interface())
	}
}

func written(value any) string {
	switch v := value.(type) {
	case config.Size:
		if v == 0 {
			return "none"
		}
		return fmt.Sprintf("%dMiB", v>>20)
	case config.Rate:
		if v == 0 {
			return "none"
		}
	case []config.TopicRetention:
		return "none"
	case config.Duration:
		return time.Duration(v).String()
	case []string:
		if len(v) > 0 {
			return fmt.Sprintf("%q", v)
		}
		return "none"
	case map[string]string, map[string]*string, []config.Override, []config.Replica:
		if reflect.ValueOf(v).Len() == 0 {
			return "none"
		}
	case string, config.Servers:
		if text := fmt.Sprint(v); text != "" && text != "[]" {
			return text
		}
		return "none"
	}
	return fmt.Sprint(value)
}

// Every configuration that a page shows is valid.
func TestConfigExamples(t *testing.T) {
	examples := 0
	for _, path := range []string{"config.md", "../README.md"} {
		for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(page(t, path), -1) {
			examples++
			file := filepath.Join(t.TempDir(), "example.yaml")
			if err := os.WriteFile(file, []byte(m[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := config.Load(file)
			if err == nil {
				err = c.Validate()
			}
			if err != nil {
				t.Errorf("an example of %s: %v", path, err)
			}
		}
	}
	if examples < 2 {
		t.Errorf("found %d examples", examples)
	}
}
