//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// sourceEvent is one line of backupd events -o json.
type sourceEvent struct {
	Time          time.Time
	Kind, Topic   string
	Partition     int32
	From, To      int64
	After, Before *time.Time
	Text          string
}

// events returns the events of some kinds.
func (r *repository) events(kinds ...string) (list []sourceEvent) {
	r.t.Helper()
	type answer struct{ Events []sourceEvent }
	for _, e := range decodeJSON[answer](r.t, r.run("backupd", nil, "events", "--limit", "0", "-o", "json")).Events {
		if strings.Contains(" "+strings.Join(kinds, " ")+" ", " "+e.Kind+" ") {
			list = append(list, e)
		}
	}
	return list
}

// texts returns what the events say.
func texts(list []sourceEvent) string {
	var all []string
	for _, e := range list {
		all = append(all, strings.TrimSpace(e.Topic+" "+e.Text))
	}
	return strings.Join(all, "\n")
}

// setACL adds an ACL, or removes it, and waits until that holds.
func setACL(t *testing.T, c *cluster.Cluster, add bool, principal, topic string) {
	t.Helper()
	before := len(acls(t, c))
	if add {
		req := kmsg.NewPtrCreateACLsRequest()
		a := kmsg.NewCreateACLsRequestCreation()
		a.ResourceType, a.ResourceName, a.ResourcePatternType, a.Principal, a.Host = 2, topic, 3, principal, "*"
		a.Operation, a.PermissionType = 3, 3
		req.Creations = append(req.Creations, a)
		if r := request[*kmsg.CreateACLsResponse](t, c.Client(t), req).Results[0]; r.ErrorCode != 0 {
			t.Fatalf("create an acl: %d %v", r.ErrorCode, r.ErrorMessage)
		}
	} else {
		req := kmsg.NewPtrDeleteACLsRequest()
		f := kmsg.NewDeleteACLsRequestFilter()
		f.ResourceType, f.ResourceName, f.ResourcePatternType, f.Principal, f.Operation, f.PermissionType = 2, &topic, 3, &principal, 1, 1
		req.Filters = append(req.Filters, f)
		if r := request[*kmsg.DeleteACLsResponse](t, c.Client(t), req).Results[0]; r.ErrorCode != 0 || len(r.MatchingACLs) != 1 {
			t.Fatalf("delete an acl: %+v", r)
		}
	}
	eventually(t, "the acls", func() bool { return len(acls(t, c)) != before })
}

// What changes around the topics is told with its time: which rights, limits and settings came, went, and became something else. What the
// cluster's users choose cannot pass for what backupd says.
func TestEventsTellWhatChanged(t *testing.T) {
	t.Parallel()
	source, target := guarded(t, cluster.Kafka43), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "orders", 1, configs{"retention.ms": "-1"})
	newRawProducer(t, source, "orders").send(0, batch.LZ4, numbered("order", 10)...)
	setACL(t, source, true, "User:alice", "orders")
	r := newRepository(t)
	r.backup(source)
	if first := texts(r.events("metadata-changed")); !strings.Contains(first, "acls: captured for the first time") || strings.Contains(first, "alice") {
		t.Errorf("at first it says\n%s", first)
	}

	before := time.Now()
	setACL(t, source, false, "User:alice", "orders")
	setACL(t, source, true, "User:bob\"; removed \"Allow", "orders\n\x1b[31m")
	setQuotas(t, source)
	setConfigs(t, source, ofBrokers, "0", configs{"log.retention.bytes": "123456789"})
	setConfigs(t, source, ofGroups, "billing", configs{"consumer.session.timeout.ms": "50000"})
	addUser(t, source, "bob", 5000)
	alterTopic(t, source, "orders", configs{"retention.ms": "86400000"})
	addPartitions(t, source, "orders", 3)
	eventually(t, "the source's metadata", func() bool {
		return len(quotas(t, source)) == 34 && len(dynamicConfigs(t, source, ofBrokers, "0")) == 1 && len(dynamicConfigs(t, source, ofGroups, "billing")) == 1
	})
	r.backup(source)
	changes := func() (list []sourceEvent) {
		for _, e := range r.events("metadata-changed", "config-changed", "partitions-added") {
			if e.Time.After(before) {
				list = append(list, e)
			}
		}
		return list
	}
	for _, want := range []string{
		`acls: added "Allow User:bob\"; removed \"Allow Read on Literal:Topic:orders\n\x1b[31m from *"; removed "Allow User:alice Read on Literal:Topic:orders from *"`,
		`quotas: added "`, ` and 29 more`, `broker-configs: added "broker 0 log.retention.bytes"="123456789"`,
		`group-configs: added "billing consumer.session.timeout.ms"="50000"`, `scram-users: added "bob SCRAM-SHA-512"="5000"`,
		`orders retention.ms: "86400000" instead of "-1"`, `orders 3 instead of 1`,
	} {
		if got := texts(changes()); !strings.Contains(got, want) {
			t.Errorf("it does not say %s:\n%s", want, got)
		}
	}
	if text := r.run("backupd", nil, "events").stdout; !strings.Contains(text, `removed "Allow User:alice`) || strings.Contains(text, "\x1b") {
		t.Errorf("for people it says\n%s", text)
	}
	if notes := strings.Join(r.plan(target).Notes, "\n"); !strings.Contains(notes, "orders: partitions were added (3 instead of 1, noticed "+before.UTC().Format("2006-01-02T15:")) {
		t.Errorf("the plan does not tell the partitions that were added:\n%s", notes)
	}

	before = time.Now()
	setConfigs(t, source, ofBrokers, "0", configs{"log.retention.bytes": "7000000"})
	eventually(t, "the broker's setting", func() bool { return dynamicConfigs(t, source, ofBrokers, "0")["log.retention.bytes"] == "7000000" })
	r.backup(source)
	if got, want := texts(changes()), `broker-configs: changed "broker 0 log.retention.bytes": "7000000" instead of "123456789"`; got != want {
		t.Errorf("then it says\n%s\nwant\n%s", got, want)
	}
}

// addPartitions makes a topic have so many.
func addPartitions(t *testing.T, c *cluster.Cluster, topic string, count int) {
	t.Helper()
	a := admin(t, c)
	defer a.Close()
	answers, err := a.UpdatePartitions(t.Context(), count, topic)
	if err == nil {
		err = answers.Error()
	}
	must(t, err)
	eventually(t, "the partitions of "+topic, func() bool {
		var topics kadm.TopicDetails
		topics, err = a.ListTopics(t.Context(), topic)
		return err == nil && len(topics[topic].Partitions) == count && topics.Error() == nil
	})
}

// Retention deletes what a running backupd has not read yet: the range is on record, with the times between which it lay, and so it is told by
// everything that looks at it.
func TestRetentionUnderTheReader(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{Properties: eager}), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "fleeting", 1, configs{"segment.ms": "300"})
	p := newRawProducer(t, source, "fleeting")
	send := func(text string, n int, at time.Time) {
		list := numbered(text, n)
		for i := range list {
			list[i].at = at.UnixMilli() + int64(i)
		}
		p.send(0, batch.Zstd, list...)
	}
	oldest := time.Now().Add(-3 * time.Hour).Truncate(time.Second).UTC()
	send("captured", 100, oldest)
	r := newRepository(t)
	daemon := r.start("backupd", source, append([]string{"run"}, smallSegments...)...)
	whole := readTopic(t, source, "fleeting")
	earlier := r.pointWith(t, map[string]oracle.History{"fleeting": whole})

	must(t, daemon.Signal(syscall.SIGSTOP))
	send("never captured", 100, oldest.Add(time.Hour))
	time.Sleep(time.Second) // older than segment.ms
	send("begins a new segment", 50, oldest.Add(time.Hour))
	alterTopic(t, source, "fleeting", configs{"retention.ms": "1000"})
	eventually(t, "retention", func() bool { return logStart(t, source, "fleeting", 0) == 250 })
	alterTopic(t, source, "fleeting", configs{"retention.ms": "-1"})
	send("afterwards", 50, oldest.Add(2*time.Hour))
	must(t, daemon.Signal(syscall.SIGCONT))
	rest := readTopic(t, source, "fleeting")
	r.pointWith(t, map[string]oracle.History{"fleeting": rest})
	daemon.stop(t)

	gaps := r.events("gap")
	if len(gaps) != 1 || gaps[0].Topic != "fleeting" || gaps[0].To != 250 || gaps[0].After == nil || gaps[0].Before == nil {
		t.Fatalf("events are %+v, want one gap up to 250", gaps)
	}
	from, to := oldest.Add(99*time.Millisecond), oldest.Add(2*time.Hour)
	if gaps[0].From == 200 { // the answer to its last request was on its way
		from = from.Add(time.Hour)
	} else if gaps[0].From != 100 {
		t.Errorf("the gap begins at %d", gaps[0].From)
	}
	if !gaps[0].After.Equal(from) || !gaps[0].Before.Equal(to) {
		t.Errorf("the gap is between %s and %s, want %s and %s", gaps[0].After, gaps[0].Before, from, to)
	}
	place := fmt.Sprintf("[%d,250)", gaps[0].From)
	told := fmt.Sprintf("; lost is what lay between %s and %s", from.Format("2006-01-02T15:04:05.000Z"), to.Format("2006-01-02T15:04:05.000Z"))
	for what, text := range map[string]string{"backupd events": r.run("backupd", nil, "events").stdout, "the plan": strings.Join(r.plan(target).Notes, "\n")} {
		if !strings.Contains(text, place) || !strings.Contains(text, told) {
			t.Errorf("%s does not say%s:\n%s", what, told, text)
		}
	}
	if notes := strings.Join(r.plan(target, "--at", fmt.Sprint(earlier)).Notes, "\n"); strings.Contains(notes, "not in the backup") {
		t.Errorf("the plan of the point before says %s", notes)
	}
	r.restore(target)
	requireSame(t, rest, readTopic(t, target, "fleeting"))
	r.restore(target, "--at", fmt.Sprint(earlier), "--rename", "fleeting=whole")
	requireSame(t, whole, readTopic(t, target, "whole"))
	r.run("restored", nil, "verify")
}
