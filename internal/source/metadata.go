package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/metadata"
)

// Parts of a restore, as --metadata names them.
const (
	PartTopics        = "topics"  // with their records and the groups' offsets
	PartConfigs       = "configs" // of the topics
	PartACLs          = "acls"
	PartQuotas        = "quotas"
	PartBrokers       = "brokers"
	PartGroups        = "groups" // configs of groups
	PartClientMetrics = "client-metrics"
)

// Parts returns all of them.
func Parts() []string {
	return []string{PartTopics, PartConfigs, PartACLs, PartQuotas, PartBrokers, PartGroups, PartClientMetrics}
}

// kindsOf maps parts to kinds of metadata.
func (r *Request) kinds() []metadata.Kind {
	var kinds []metadata.Kind
	for _, part := range r.Parts {
		switch part {
		case PartACLs:
			kinds = append(kinds, metadata.ACLs)
		case PartQuotas:
			kinds = append(kinds, metadata.Quotas)
		case PartBrokers:
			kinds = append(kinds, metadata.BrokerConfigs)
		case PartGroups:
			kinds = append(kinds, metadata.GroupConfigs)
		case PartClientMetrics:
			kinds = append(kinds, metadata.ClientMetrics)
		}
	}
	return kinds
}

// has says whether a part is to be restored; without any, topics and configs are.
func (r *Request) has(part string) bool {
	if len(r.Parts) == 0 {
		return part == PartTopics || part == PartConfigs
	}
	return slices.Contains(r.Parts, part)
}

// partOf is the inverse of kinds.
func partOf(kind metadata.Kind) string {
	switch kind {
	case metadata.BrokerConfigs:
		return PartBrokers
	case metadata.GroupConfigs:
		return PartGroups
	}
	return string(kind)
}

// restorableBroker are the broker configs that may be taken from a backup: the
// defaults of topics and what concerns their logs. Left out on purpose: what makes a
// broker run code or talk to somebody (listeners, ssl, sasl, reporters), what could lock
// everybody out (connection limits), the throttles of a reassignment, and what
// belongs to a machine's size (threads, buffers).
var restorableBroker = []string{
	"compression.gzip.level", "compression.lz4.level", "compression.type", "compression.zstd.level",
	"log.cleaner.delete.retention.ms", "log.cleaner.max.compaction.lag.ms", "log.cleaner.min.cleanable.ratio", "log.cleaner.min.compaction.lag.ms",
	"log.cleanup.policy", "log.flush.interval.messages", "log.flush.interval.ms", "log.index.interval.bytes", "log.index.size.max.bytes",
	"log.local.retention.bytes", "log.local.retention.ms", "log.message.timestamp.after.max.ms", "log.message.timestamp.before.max.ms",
	"log.message.timestamp.type", "log.preallocate", "log.retention.bytes", "log.retention.ms", "log.roll.jitter.ms", "log.roll.ms",
	"log.segment.bytes", "log.segment.delete.delay.ms", "message.max.bytes", "min.insync.replicas", "producer.id.expiration.ms",
	"unclean.leader.election.enable",
}

// restorableOther are the configs of groups and of client metrics that may be
// taken from a backup.
var restorableOther = map[metadata.Kind][]string{
	metadata.ClientMetrics: {"interval.ms", "match", "metrics"},
	metadata.GroupConfigs: {
		"consumer.heartbeat.interval.ms", "consumer.session.timeout.ms", "share.auto.offset.reset", "share.heartbeat.interval.ms", "share.isolation.level",
		"share.record.lock.duration.ms", "share.session.timeout.ms", "streams.heartbeat.interval.ms", "streams.num.standby.replicas", "streams.session.timeout.ms",
	},
}

// remedy says what is done about a setting that the cluster does not have as the
// backup has it.
func remedy(kind metadata.Kind, s metadata.Setting, brokers []kafka.Broker) (restorable bool, todo string) {
	set := "restored run --metadata " + partOf(kind)
	unlisted := "set it by hand: it is not on the list of configs that may be taken from a backup"
	switch kind {
	case metadata.ACLs, metadata.Quotas:
		return true, set
	case metadata.BrokerConfigs:
		if s.Object != "" && !slices.ContainsFunc(brokers, func(b kafka.Broker) bool { return strconv.Itoa(int(b.ID)) == s.Object }) {
			return false, "nothing: the cluster has no such broker"
		}
		if !slices.Contains(restorableBroker, s.Name) {
			return false, unlisted
		}
		return true, set
	case metadata.GroupConfigs, metadata.ClientMetrics:
		if !slices.Contains(restorableOther[kind], s.Name) {
			return false, unlisted
		}
		return true, set
	case metadata.ScramUsers:
		return false, fmt.Sprintf("give the user a new password by hand, with %s and %s iterations: the old one cannot be read", s.Name, s.Value)
	case metadata.Features:
		return false, "kafka-features.sh, if the cluster should have this level: a restore never changes it"
	}
	return false, "nothing"
}

// planMetadata compares what is asked for with the cluster.
func (p *Plan) planMetadata(ctx context.Context, cluster *kafka.Cluster) error {
	kinds := p.Request.kinds()
	if len(kinds) == 0 {
		return nil
	}
	d := &Diff{}
	for _, kind := range append(kinds, metadata.ScramUsers, metadata.Features) {
		if err := d.addKind(ctx, p.Snapshot, cluster, kind); err != nil {
			return err
		}
	}
	p.Metadata = d.Differences
	for _, u := range d.Uncompared {
		if slices.Contains(kinds, metadata.Kind(u.Kind)) && (u.Captured || p.Snapshot.State.Metadata[u.Kind].Content == nil) {
			p.refuse("%s cannot be restored: %s: mend that, or leave it out of --metadata", u.Kind, u.Reason)
		} else {
			p.note("%s: %s", u.Kind, u.Reason)
		}
	}
	if slices.ContainsFunc(p.Metadata, func(d Difference) bool { return d.Kind == string(metadata.BrokerConfigs) && d.Restorable }) {
		p.note("brokers: their settings hold for every topic of the cluster that has none of its own, also for those that are not restored")
	}
	if p.Request.has(PartACLs) && p.Request.renames() {
		p.note("acls are restored as they were, under the old names of renamed topics")
	}
	return p.checkMetadataRights(ctx, cluster)
}

// checkMetadataRights names the rights on the cluster that are missing for what
// there is to do.
func (p *Plan) checkMetadataRights(ctx context.Context, cluster *kafka.Cluster) error {
	needs := make(map[kafka.Operation]bool)
	for _, d := range p.Metadata {
		switch {
		case !d.Restorable || d.Kind == string(metadata.GroupConfigs): // whose rights are those of each group
		case d.Kind == string(metadata.ACLs):
			needs[kafka.OpAlter] = true
		default:
			needs[kafka.OpAlterConfigs] = true
		}
	}
	if len(needs) == 0 {
		return nil
	}
	rights, err := cluster.ClusterRights(ctx)
	if err != nil {
		return err
	}
	for _, op := range []kafka.Operation{kafka.OpAlter, kafka.OpAlterConfigs} {
		if needs[op] && !rights.Has(op) {
			p.refuse("metadata: not authorized: %s on Cluster", op)
		}
	}
	return nil
}

// MetadataResult is what became of one kind of metadata.
type MetadataResult struct {
	Kind     string
	Applied  int // settings that were set and read back
	Problems []string
}

// settingKey names a setting of a kind, as differences do.
type settingKey struct{ object, name string }

// applyMetadata sets what the plan says, and reads it back.
func (r *Runner) applyMetadata(ctx context.Context, p *Plan) ([]MetadataResult, error) {
	var results []MetadataResult
	for _, kind := range p.Request.kinds() {
		todo := make(map[settingKey]bool)
		for _, d := range p.Metadata {
			if d.Kind == string(kind) && d.Restorable {
				todo[settingKey{d.Object, d.Setting}] = true
			}
		}
		res := MetadataResult{Kind: string(kind)}
		var failed map[settingKey]error
		err := r.patiently(ctx, "restore "+string(kind), func() (err error) {
			failed, err = r.applyKind(ctx, p.Snapshot, kind, todo)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("restore %s: %w", kind, err)
		}
		for at, problem := range failed {
			res.Problems = append(res.Problems, fmt.Sprintf("%s: %v", strings.TrimSpace(at.object+" "+at.name), problem))
		}
		slices.Sort(res.Problems)
		res.Applied = len(todo) - len(failed)
		r.Log.Info("metadata restored", "kind", string(kind), "settings", res.Applied, "problems", len(res.Problems))
		results = append(results, res)
	}
	return results, nil
}

// applyKind returns why settings were not applied, or do not read back.
func (r *Runner) applyKind(ctx context.Context, s *Snapshot, kind metadata.Kind, todo map[settingKey]bool) (failed map[settingKey]error, err error) {
	if len(todo) == 0 {
		return nil, nil
	}
	content, err := metadata.Decode(kind, *s.State.Metadata[string(kind)].Content)
	if err != nil {
		return nil, err
	}
	switch c := content.(type) {
	case metadata.ACLList:
		failed, err = r.createACLs(ctx, c, todo)
	case metadata.QuotaList:
		failed, err = r.setQuotas(ctx, c, todo)
	case metadata.Configs:
		failed, err = r.setConfigs(ctx, kind, c, todo)
	}
	if err != nil {
		return nil, err
	}
	return failed, r.readBack(ctx, s, kind, todo, failed)
}

func (r *Runner) createACLs(ctx context.Context, list metadata.ACLList, todo map[settingKey]bool) (map[settingKey]error, error) {
	var acls []kafka.ACL
	for _, a := range list {
		if todo[settingKey{a.Kafka().String(), ""}] {
			acls = append(acls, a.Kafka())
		}
	}
	results, err := r.Cluster.CreateACLs(ctx, acls)
	failed := make(map[settingKey]error)
	for i, problem := range results {
		if problem != nil {
			failed[settingKey{acls[i].String(), ""}] = problem
		}
	}
	return failed, err
}

func (r *Runner) setQuotas(ctx context.Context, list metadata.QuotaList, todo map[settingKey]bool) (map[settingKey]error, error) {
	var quotas []kafka.Quota
	var objects []string
	for _, q := range list {
		maps.DeleteFunc(q.Values, func(name string, _ float64) bool { return !todo[settingKey{q.Object(), name}] })
		if len(q.Values) > 0 {
			quotas, objects = append(quotas, q.Kafka()), append(objects, q.Object())
		}
	}
	results, err := r.Cluster.SetQuotas(ctx, quotas)
	failed := make(map[settingKey]error)
	for i, problem := range results {
		for name := range quotas[i].Values {
			if problem != nil {
				failed[settingKey{objects[i], name}] = problem
			}
		}
	}
	return failed, err
}

// setConfigs sets one config at a time, so that one which the cluster refuses
// does not keep the others from being set.
func (r *Runner) setConfigs(ctx context.Context, kind metadata.Kind, configs metadata.Configs, todo map[settingKey]bool) (map[settingKey]error, error) {
	types := map[metadata.Kind]kafka.ResourceType{
		metadata.BrokerConfigs: kafka.BrokerResource, metadata.GroupConfigs: kafka.GroupResource, metadata.ClientMetrics: kafka.ClientMetricsResource,
	}
	failed := make(map[settingKey]error)
	for _, s := range configs.Settings() {
		at := settingKey{kind.Owner(s), s.Name}
		if !todo[at] {
			continue
		}
		err := r.Cluster.AlterConfigs(ctx, types[kind], s.Object, []kafka.ConfigChange{{Name: s.Name, Value: &s.Value}})
		if errors.Is(err, kafka.ErrRetriable) || ctx.Err() != nil {
			return nil, err
		}
		if err != nil {
			failed[at] = err
		}
	}
	return failed, nil
}

var errNotReadBack = errors.New("it does not read back as it was set")

// readBack waits until the cluster has what was set, and adds to failed what it
// still has not.
func (r *Runner) readBack(ctx context.Context, s *Snapshot, kind metadata.Kind, todo map[settingKey]bool, failed map[settingKey]error) error {
	for deadline := time.Now().Add(visibleWithin); ; {
		d := &Diff{}
		if err := d.addKind(ctx, s, r.Cluster, kind); err != nil {
			return err
		}
		left := make(map[settingKey]bool)
		for _, x := range d.Differences {
			if at := (settingKey{x.Object, x.Setting}); todo[at] && failed[at] == nil {
				left[at] = true
			}
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			for at := range left {
				failed[at] = errNotReadBack
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
