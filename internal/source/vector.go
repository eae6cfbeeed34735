package source

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Vector says for partitions with which offset they end, which itself is
// outside: a cut of one's own.
type Vector map[Place]int64

// Place is a partition by its topic's name, or by NAME@N.
type Place struct {
	Topic     string
	Partition int32
}

func (p Place) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Partition) }

// means says whether the place is in this topic.
func (p Place) means(i Incarnation) bool { return p.Topic == i.Label() || p.Topic == i.Name && !i.Gone }

// places returns what the vector names, by topic and partition.
func (v Vector) places() []Place {
	list := make([]Place, 0, len(v))
	for p := range v {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Place) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
	return list
}

// ErrVector says that a text is no vector of offsets.
var ErrVector = errors.New("not a vector of offsets")

// ParseVector reads JSON or CSV as restored offsets prints them, of which the
// source offsets count, or with no more than topic, partition and offset; or the
// JSON that restored show prints, of which the ends count.
func ParseVector(text []byte) (Vector, error) {
	v := make(Vector)
	read := v.readCSV
	if first := bytes.TrimLeft(text, " \t\r\n"); len(first) > 0 && (first[0] == '{' || first[0] == '[') {
		read = v.readJSON
	}
	if err := read(text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVector, err)
	}
	if len(v) == 0 {
		return nil, fmt.Errorf("%w: it names no partition", ErrVector)
	}
	return v, nil
}

// vectorRow is a row of JSON; what does not matter here is there so that a
// misspelt name is noticed.
type vectorRow struct {
	Topic     string `json:"topic"`
	Partition *int32 `json:"partition"`
	Offset    *int64 `json:"offset"`
	Source    *int64 `json:"sourceOffset"`
	Group     string `json:"group"`
	Type      string `json:"type"`
	Target    string `json:"targetTopic"`
	At        int64  `json:"targetOffset"`
	Note      string `json:"note"`
	Point     uint64 `json:"point"`
}

// shownPoint is what is read of the JSON of restored show.
type shownPoint struct {
	Topics []struct {
		Topic       string             `json:"topic"`
		Incarnation int                `json:"incarnation"`
		Gone        bool               `json:"gone"`
		Partitions  []PartitionContent `json:"partitions"`
	} `json:"topics"`
}

func (v Vector) readShown(s *shownPoint) error {
	for _, t := range s.Topics {
		name := t.Topic
		if t.Gone {
			name = fmt.Sprintf("%s@%d", t.Topic, t.Incarnation)
		}
		for _, p := range t.Partitions {
			if err := v.add(name, p.Partition, p.To); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v Vector) readJSON(text []byte) error {
	var s shownPoint
	if err := json.Unmarshal(text, &s); err == nil && len(s.Topics) > 0 {
		return v.readShown(&s)
	}
	var file struct {
		SchemaVersion int         `json:"schemaVersion"`
		Offsets       []vectorRow `json:"offsets"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	into := any(&file)
	if bytes.TrimLeft(text, " \t\r\n")[0] == '[' {
		into = &file.Offsets
	}
	if err := dec.Decode(into); err != nil {
		return err
	}
	if dec.More() {
		return errors.New("something follows the JSON")
	}
	for i, r := range file.Offsets {
		offset := r.Offset
		if offset == nil {
			offset = r.Source
		}
		if r.Partition == nil || offset == nil || r.Offset != nil && r.Source != nil {
			return fmt.Errorf("entry %d: want topic, partition and offset", i+1)
		}
		if err := v.add(r.Topic, *r.Partition, *offset); err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	return nil
}

func (v Vector) readCSV(text []byte) error {
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(rows) == 0 {
		return err
	}
	topic, partition := slices.Index(rows[0], "topic"), slices.Index(rows[0], "partition")
	offset := slices.IndexFunc(rows[0], func(s string) bool { return s == "offset" || s == "source_offset" })
	if topic < 0 || partition < 0 || offset < 0 {
		return errors.New("the first line must name the columns: topic,partition,offset (or source_offset)")
	}
	for i, row := range rows[1:] {
		p, err1 := strconv.ParseInt(row[partition], 10, 32)
		o, err2 := strconv.ParseInt(row[offset], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("row %d: %w", i+2, err)
		}
		if err := v.add(row[topic], int32(p), o); err != nil {
			return fmt.Errorf("row %d: %w", i+2, err)
		}
	}
	return nil
}

// add takes one row in. The same may be said twice, as of several groups.
func (v Vector) add(topic string, partition int32, offset int64) error {
	at := Place{topic, partition}
	if topic == "" || partition < 0 || offset < 0 {
		return fmt.Errorf("%s offset %d: neither can be", at, offset)
	}
	if other, twice := v[at]; twice && other != offset {
		return fmt.Errorf("%s is to end with offset %d and with %d: give one", at, other, offset)
	}
	v[at] = offset
	return nil
}
