package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/pattern"
)

// Restore says what restored plan, run and offsets do where no flag says
// otherwise: the keys are their flags. backupd does not look at it.
type Restore struct {
	At                string            `yaml:"at"`
	Topics            []string          `yaml:"topics"`
	Rename            map[string]string `yaml:"rename"`
	AtOffsets         string            `yaml:"atOffsets"`
	UntilTimestamp    string            `yaml:"untilTimestamp"`
	AcceptGap         bool              `yaml:"acceptGap"`
	IfExists          string            `yaml:"ifExists"`
	HoldRetention     Duration          `yaml:"holdRetention"`
	ReplicationFactor int               `yaml:"replicationFactor"`
	Metadata          []string          `yaml:"metadata"`
	Overrides         []Override        `yaml:"overrides"`
}

// Override is what is different for single topics; the first one that has a
// topic counts for it. What it leaves out is as for the others.
type Override struct {
	Topics            []string           `yaml:"topics"`
	At                string             `yaml:"at"`
	UntilTimestamp    string             `yaml:"untilTimestamp"`
	Rename            map[string]string  `yaml:"rename"`
	ReplicationFactor int                `yaml:"replicationFactor"`
	Configs           map[string]*string `yaml:"configs"` // nil leaves one to the broker
}

// check calls bad with what is wrong and needs no repository to be known. Points
// and times are restored's to understand.
func (r *Restore) check(bad func(key, format string, args ...any)) {
	checkTopics("restore.topics", r.Topics, bad)
	checkRename("restore.rename", r.Rename, bad)
	if r.IfExists != "refuse" && r.IfExists != "append" {
		bad("restore.ifExists", "%q is none of refuse, append", r.IfExists)
	}
	if r.HoldRetention < 0 {
		bad("restore.holdRetention", "%s: cannot be negative", time.Duration(r.HoldRetention))
	}
	checkReplicas("restore.replicationFactor", r.ReplicationFactor, bad)
	for i := range r.Overrides {
		r.Overrides[i].check(fmt.Sprintf("restore.overrides[%d]", i), bad)
	}
}

func (o *Override) check(key string, bad func(key, format string, args ...any)) {
	if len(o.Topics) == 0 {
		bad(key, "topics is missing: which ones is it for?")
	}
	checkTopics(key+".topics", o.Topics, bad)
	checkRename(key+".rename", o.Rename, bad)
	checkReplicas(key+".replicationFactor", o.ReplicationFactor, bad)
	if _, ok := o.Configs[""]; ok {
		bad(key+".configs", "a name is empty")
	}
}

func checkTopics(key string, texts []string, bad func(key, format string, args ...any)) {
	plain := slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return strings.Contains(text, "@") })
	list, err := pattern.Parse(plain)
	if err == nil {
		err = checkNames(list)
	}
	if err != nil {
		bad(key, "%v", err)
	}
}

func checkRename(key string, names map[string]string, bad func(key, format string, args ...any)) {
	for from, to := range names {
		if from == "" || to == "" {
			bad(key, "want OLD: NEW")
		}
	}
}

func checkReplicas(key string, n int, bad func(key, format string, args ...any)) {
	if n < 0 || n > math.MaxInt16 {
		bad(key, "must be between 1 and %d, or 0 for that of the source", math.MaxInt16)
	}
}
