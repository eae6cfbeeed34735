//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// wantReasons wants a refusal, and its reasons in the list of them or in the line that ends it.
func wantReasons(t *testing.T, o outcome, words ...string) {
	t.Helper()
	if o.code != exitRefused {
		t.Fatalf("exit code %d, want %d\n%s\n%s", o.code, exitRefused, tail(o.stdout), tail(o.stderr))
	}
	for _, word := range words {
		if !strings.Contains(o.stdout+o.stderr, word) {
			t.Errorf("%q is not in what it says\n%s\n%s", word, o.stdout, o.stderr)
		}
	}
}

// wantRefusal fails the test unless plan and run both refuse with these words, and nothing on the target changes.
func (r *repository) wantRefusal(t *testing.T, target *cluster.Cluster, args []string, words ...string) {
	t.Helper()
	r = r.in(t)
	before := topicNames(t, target)
	for _, command := range [][]string{{"plan"}, {"run", "--yes"}} {
		wantReasons(t, r.try("restored", target, append(command, args...)...), words...)
	}
	wantJSONError(t, r.try("restored", target, append([]string{"run", "--yes", "-o", "json"}, args...)...), exitRefused, words...)
	if now := topicNames(t, target); now != before {
		t.Errorf("topics of the target were %q, now %q", before, now)
	}
}

func TestNothingToRestore(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	fill(t, source, 3, "orders", "old")
	r := newRepository(t)
	r.backup(source)
	deleteTopic(t, source, "old")
	eventually(t, "old is gone", func() bool { return topicNames(t, source) == "orders" })
	eventually(t, "old is gone from the backup", func() bool {
		r.backup(source)
		for _, topic := range decodeJSON[repositoryStatus](t, r.run("backupd", nil, "status", "-o", "json")).Topics {
			if topic.Topic == "old" {
				return topic.Gone
			}
		}
		return false
	})
	tomorrow := time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
	for _, test := range []struct {
		name  string
		args  []string
		words []string
	}{
		{"literal that never was", []string{"--topics", "payments"}, []string{"nothing to restore", "payments"}},
		{"literal that is gone", []string{"--topics", "old"}, []string{"nothing to restore", "old", "gone", "old@1"}},
		{"pattern that matches nothing", []string{"--topics", "pay-*"}, []string{"nothing to restore", "no topic"}},
		{"incarnation that never was", []string{"--topics", "orders@2"}, []string{"nothing to restore", "orders@2"}},
		{"everything excluded", []string{"--topics", "!*"}, []string{"nothing to restore"}},
		{"point that never was", []string{"--at", "99999"}, []string{"no such recovery point", "99999", "restored list"}},
		{"time before the first point", []string{"--at", "2001-02-03T04:05:06Z"}, []string{"no such recovery point", "2001-02-03T04:05:06Z", "before the first"}},
		{"duration before the first point", []string{"--at=-9000h"}, []string{"no such recovery point", "before the first"}},
		{"no time at all", []string{"--at", "yesterday"}, []string{"no such recovery point", "yesterday", "RFC 3339"}},
		{"rename of what is not selected", []string{"--topics", "orders", "--rename", "old=new"}, []string{"--rename old=new", "no selected topic"}},
	} {
		t.Run(test.name, func(t *testing.T) { r.wantRefusal(t, target, test.args, test.words...) })
	}
	t.Run("bad pattern", func(t *testing.T) {
		wantError(t, r.in(t).try("restored", target, "plan", "--topics", "/(/"), exitUsage, "/(/", "missing closing )")
	})
	t.Run("a time to come is the latest", func(t *testing.T) {
		r.in(t).run("restored", target, "plan", "--at", tomorrow)
	})
	t.Run("an older incarnation", func(t *testing.T) {
		r.in(t).run("restored", target, "plan", "--topics", "old@1")
	})
}

func TestTargetThatCannotTakeIt(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	fill(t, source, 3, "orders", "payments")
	r := newRepository(t)
	r.backup(source)
	fill(t, target, 2, "taken")
	createTopic(t, target, "wide", 4, nil)
	fill(t, target, 1, "__filled")
	for _, test := range []struct {
		name  string
		args  []string
		words []string
	}{
		{"not empty", []string{"--rename", "orders=taken"}, []string{"taken", "holds 2 records", "--rename orders=NEW", "--if-exists append"}},
		{"partitions", []string{"--rename", "orders=wide"}, []string{"wide", "4 partitions", "has 1", "--rename orders=NEW"}},
		{"two into one", []string{"--rename", "orders=both", "--rename", "payments=both"}, []string{"orders@1", "payments@1", "both", "--rename"}},
		{"one onto another", []string{"--rename", "orders=payments"}, []string{"orders@1", "payments@1", "--rename"}},
		{"replication factor", []string{"--replication-factor", "3"}, []string{"orders", "payments", "replication factor 3", "the cluster has 1", "--replication-factor N"}},
		{"internal", []string{"--rename", "orders=__consumer_offsets"}, []string{"__consumer_offsets", "internal", "--rename orders=NEW"}},
		{"internal, not there yet", []string{"--rename", "orders=__transaction_state"}, []string{"__transaction_state", "internal"}},
		{"illegal character", []string{"--rename", "orders=a/b"}, []string{"a/b", "--rename orders=NEW"}},
		{"name of dots", []string{"--rename", "orders=.."}, []string{".."}},
		{"name too long", []string{"--rename", "orders=" + strings.Repeat("x", 250)}, []string{"xxx", "249"}},
		{"all of it at once", []string{"--rename", "orders=taken", "--rename", "payments=wide"}, []string{"taken", "wide"}},
	} {
		t.Run(test.name, func(t *testing.T) { r.wantRefusal(t, target, test.args, test.words...) })
	}
	for _, topic := range []string{"taken", "wide"} {
		if got := topicConfigs(t, target, topic); len(got) > 0 {
			t.Errorf("configs of %s were changed: %v", topic, got)
		}
	}
	t.Run("no terminal and no --yes", func(t *testing.T) {
		r, before := r.in(t), topicNames(t, target)
		wantError(t, r.try("restored", target, "run"), exitUsage, "no terminal", "restored plan", "--yes")
		if now := topicNames(t, target); now != before {
			t.Errorf("topics were %q, now %q", before, now)
		}
	})
	t.Run("not to be confirmed for JSON", func(t *testing.T) {
		wantJSONError(t, r.in(t).try("restored", target, "run", "-o", "json"), exitUsage, "--yes")
	})
	t.Run("finished, then filled by others", func(t *testing.T) {
		r := r.in(t)
		r.run("restored", target, "run", "--yes")
		r.run("restored", target, "run", "--yes") // nothing to do
		r.backup(source)
		if o := r.run("restored", target, "run", "--yes"); !strings.Contains(o.stdout, "nothing to do") {
			t.Errorf("the latest point has moved, and the restore that is complete says\n%s", o.stdout)
		}
		newest := fmt.Sprint(r.listPoints().Points[0].ID)
		r.wantRefusal(t, target, []string{"--at", newest}, "orders", "another recovery point", "--at", "--rename")
	})
}

// A repository may come back into the cluster that it was made from: next to what is there, never into it.
func TestRestoreIntoTheSource(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	fill(t, c, 3, "orders")
	r := newRepository(t)
	r.backup(c)
	r.wantRefusal(t, c, nil, "orders", "holds 3 records", "--rename orders=NEW")
	r.restore(c, "--rename", "orders=orders-restored")
	requireSame(t, readTopic(t, c, "orders"), readTopic(t, c, "orders-restored"))
}

func TestRestoreWithoutRights(t *testing.T) {
	t.Parallel()
	state := right{"group", "offsite-restore-*", kadm.OpRead}
	all := func(except ...kadm.ACLOperation) []right {
		rights := []right{state, {"group", "*", kadm.OpRead}}
		for _, op := range []kadm.ACLOperation{kadm.OpCreate, kadm.OpDescribe, kadm.OpDescribeConfigs, kadm.OpAlterConfigs, kadm.OpWrite} {
			keep := true
			for _, x := range except {
				keep = keep && op != x
			}
			if keep {
				rights = append(rights, right{"topic", "new-*", op}, right{"topic", "there", op})
			}
		}
		return append(rights, right{"topic", "*", kadm.OpRead})
	}
	s := startSecured(t, map[string][]right{
		"nobody":   nil,
		"nocreate": all(kadm.OpCreate),
		"nowrite":  all(kadm.OpWrite),
		"noalter":  all(kadm.OpAlterConfigs),
		"nostate":  all()[2:],
		"all":      all(),
	})
	fill(t, s.Cluster, 3, "orders")
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: "orders", At: 1})
	must(t, s.admin.CommitAllOffsets(t.Context(), "reader", offsets))
	r := newRepository(t)
	r.backup(s.Cluster)
	createTopic(t, s.Cluster, "there", 1, nil)

	for _, test := range []struct {
		user, target string
		words        []string
	}{
		{"nobody", "new-a", []string{"not authorized"}},
		{"nocreate", "new-b", []string{"new-b", "not authorized", "Create"}},
		{"nowrite", "there", []string{"there", "not authorized", "Write"}},
		{"noalter", "there", []string{"there", "not authorized", "AlterConfigs"}},
		{"nostate", "new-e", []string{"offsite-restore-", "not authorized"}},
	} {
		t.Run(test.user+" "+test.target, func(t *testing.T) {
			r := r.in(t)
			before := topicNames(t, s.Cluster)
			for _, args := range [][]string{{"plan"}, {"run", "--yes"}} {
				args = append(append(args, "--log-level", "debug", "--rename", "orders="+test.target), s.as(test.user)...)
				wantReasons(t, r.try("restored", nil, args...), test.words...)
			}
			if now := topicNames(t, s.Cluster); now != before {
				t.Errorf("topics were %q, now %q", before, now)
			}
			if n := endOffsets(t, s.Cluster, test.target); n != 0 {
				t.Errorf("%d records in %s", n, test.target)
			}
		})
	}
	// Kafka does not tell rights on a topic that does not exist: these show when it does.
	for user, missing := range map[string]string{"nowrite": "Write", "noalter": "AlterConfigs"} {
		t.Run(user+" of a new topic", func(t *testing.T) {
			r, topic := r.in(t), "new-"+user
			args := append([]string{"run", "--yes", "--rename", "orders=" + topic}, s.as(user)...)
			wantError(t, r.try("restored", nil, args...), exitRefused, topic, "not authorized", missing, "run again")
			wantError(t, r.try("restored", nil, args...), exitRefused, topic, "not authorized", missing)
			if n := endOffsets(t, s.Cluster, topic); n != 0 {
				t.Errorf("%d records in %s", n, topic)
			}
			r.restore(s.Cluster, "--rename", "orders="+topic) // by somebody who may
			requireSame(t, readTopic(t, s.Cluster, "orders"), readTopic(t, s.Cluster, topic))
		})
	}
	t.Run("all", func(t *testing.T) {
		r.in(t).run("restored", nil, append([]string{"run", "--yes", "--rename", "orders=new-all"}, s.as("all")...)...)
		requireSame(t, readTopic(t, s.Cluster, "orders"), readTopic(t, s.Cluster, "new-all"))
	})
}

// Offsets that may not be committed do not stop a restore, but make it incomplete.
func TestRestoreWithoutGroupRights(t *testing.T) {
	t.Parallel()
	s := startSecured(t, map[string][]right{"restorer": {
		{"topic", "new-*", kadm.OpAll}, {"topic", "*", kadm.OpDescribe}, {"group", "offsite-restore-*", kadm.OpRead}, {"group", "*", kadm.OpDescribe},
	}})
	fill(t, s.Cluster, 3, "orders")
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: "orders", At: 1})
	must(t, s.admin.CommitAllOffsets(t.Context(), "reader", offsets))
	r := newRepository(t)
	r.backup(s.Cluster)
	o := r.try("restored", nil, append([]string{"run", "--yes", "--rename", "orders=new-orders"}, s.as("restorer")...)...)
	wantError(t, o, exitIncomplete, "not complete")
	if !strings.Contains(o.stdout, `Read on Group "reader"`) {
		t.Errorf("the result does not say why:\n%s", o.stdout)
	}
	requireSame(t, readTopic(t, s.Cluster, "orders"), readTopic(t, s.Cluster, "new-orders"))
}
