package config

import "reflect"

// keysOf returns the keys of one of the file's mappings, by its type's name.
func keysOf(typeName string) []string {
	var find func(t reflect.Type) []string
	find = func(t reflect.Type) []string {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return nil
		}
		var keys []string
		for i := range t.NumField() {
			if inner := find(t.Field(i).Type); inner != nil {
				return inner
			}
			keys = append(keys, t.Field(i).Tag.Get("yaml"))
		}
		if t.Name() == typeName {
			return keys
		}
		return nil
	}
	return find(reflect.TypeFor[Config]())
}
