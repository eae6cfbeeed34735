package main

import (
	"maps"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/source"
)

// adopt takes from the section restore of the file what no flag says. Topics and
// names from there need no splitting, and have been checked.
func (s *selection) adopt(file *config.Restore) {
	s.fromFile(&s.at, "at", file.At)
	s.fromFile(&s.atOffsets, "at-offsets", file.AtOffsets)
	s.fromFile(&s.until, "until-timestamp", file.UntilTimestamp)
	if !s.given("accept-gap") {
		s.acceptGap = file.AcceptGap
	}
	if !s.given("topics") {
		s.fileTopics = file.Topics
	}
	if !s.given("rename") {
		s.fileRename = file.Rename
	}
	s.overrides = file.Overrides
}

// fromFile puts the file's text in the place of a flag that is not given.
func (s *selection) fromFile(value *string, flag, text string) {
	if !s.given(flag) {
		*value = text
		s.keys[flag] = true
	}
}

// restoreKeys are keys of the section, by the flags that they stand for.
var restoreKeys = map[string]string{
	"at": "restore.at", "at-offsets": "restore.atOffsets", "until-timestamp": "restore.untilTimestamp", "metadata": "restore.metadata",
}

// said names where a value was given: by the flag, or by its key in the file.
func (s *selection) said(flag string) string {
	if s.keys[flag] {
		return restoreKeys[flag]
	}
	return "--" + flag
}

// adopt does the same for the flags that say how it comes back.
func (t *target) adopt(file *config.Restore) {
	t.selection.adopt(file)
	t.fromFile(&t.ifExists, "if-exists", file.IfExists)
	if !t.given("hold-retention") {
		t.hold = time.Duration(file.HoldRetention)
	}
	if !t.given("replication-factor") {
		t.replication = int16(file.ReplicationFactor)
	}
	if !t.given("metadata") {
		t.parts, t.keys["metadata"] = file.Metadata, true
	}
}

// override makes those of a request out of those of the file.
func (s *selection) override(r *source.Request) error {
	for i, o := range s.overrides {
		to := source.Override{Topics: o.Topics, At: o.At, Rename: maps.Clone(o.Rename), ReplicationFactor: int16(o.ReplicationFactor), Configs: o.Configs}
		if o.UntilTimestamp != "" {
			t, err := source.ParseTime(o.UntilTimestamp, time.Now())
			if err != nil {
				return cli.Usagef("restore.overrides[%d].untilTimestamp %q: %v", i, o.UntilTimestamp, err)
			}
			ms := t.UnixMilli()
			to.Until = &ms
		}
		r.Overrides = append(r.Overrides, to)
	}
	return nil
}
