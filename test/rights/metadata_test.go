//go:build e2e

package rights_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kindsOf are the kinds of metadata that a right of backupd is for.
var kindsOf = map[right][]string{
	{"backupd", "cluster", "Describe"}:          {"acls", "scram-users"},
	{"backupd", "cluster", "DescribeConfigs"}:   {"broker-configs", "client-metrics", "group-configs", "quotas"},
	{"backupd", "group", "DescribeConfigs"}:     {"group-configs"},
	{"backupd", "transactional-id", "Describe"}: {"transactional-ids"},
}

// With the rights for metadata all of it is captured. Without any one of them, all but what it is for, and the backup succeeds.
func TestRightsToCaptureMetadata(t *testing.T) {
	t.Parallel()
	needed, metadata := documented(t)
	b := startBed(t)
	b.setMetadata(t)
	metadata = slices.DeleteFunc(metadata, func(r right) bool { return r.user != "backupd" })
	if len(metadata) != len(kindsOf) {
		t.Errorf("docs/operations.md gives %v, want %v", metadata, kindsOf)
	}
	for _, missing := range append(metadata, right{}) {
		b.grant(t, everything, slices.DeleteFunc(slices.Concat(needed, metadata), func(r right) bool { return r == missing }))
		repo := filepath.Join(b.dir, fmt.Sprintf("without %v", missing))
		if _, err := b.as("backupd", "once", "--repo", repo, "--topics", topic); err != nil {
			t.Errorf("without %v: %v", missing, err)
			continue
		}
		if got := b.notCaptured(t, repo); !slices.Equal(got, kindsOf[missing]) {
			t.Errorf("without %v %v is not captured, want %v", missing, got, kindsOf[missing])
		}
	}
}

// With the rights for metadata it can be restored. Without any one of them, what it is for cannot.
func TestRightsToRestoreMetadata(t *testing.T) {
	t.Parallel()
	needed, metadata := documented(t)
	b := startBed(t)
	b.setMetadata(t)
	all := slices.Concat(needed, metadata)
	b.grant(t, everything, all)
	b.allowCarol(t)
	repo := filepath.Join(b.dir, "metadata")
	if _, err := b.as("backupd", "once", "--repo", repo, "--topics", topic); err != nil {
		t.Fatal(err)
	}
	b.clearMetadata(t)
	restore := func(parts string) error {
		out, err := b.as("restored", "run", "--yes", "-o", "json", "--repo", repo, "--metadata", parts)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	for parts, missing := range map[string]right{
		"acls": {"restored", "cluster", "Alter"}, "quotas": {"restored", "cluster", "AlterConfigs"}, "groups": {"restored", "group", "AlterConfigs"},
	} {
		if !slices.Contains(all, missing) {
			t.Errorf("docs/operations.md does not give %v", missing)
		}
		b.grant(t, everything, slices.DeleteFunc(slices.Clone(all), func(r right) bool { return r == missing }))
		if err := restore(parts); err == nil || !strings.Contains(err.Error(), "not authorized") {
			t.Errorf("%s without %v: %v", parts, missing, err)
		}
	}
	b.grant(t, everything, all)
	if err := restore("acls,quotas,groups"); err != nil {
		t.Errorf("with all rights: %v", err)
	}
	acls, err := b.admin.DescribeACLs(t.Context(), carol())
	if err != nil || len(acls) != 1 || len(acls[0].Described) != 1 {
		t.Errorf("carol's right has not come back: %v %v", acls, err)
	}
}

// notCaptured asks backupd itself.
func (b *bed) notCaptured(t *testing.T, repo string) (kinds []string) {
	t.Helper()
	out, err := b.as("backupd", "status", "-o", "json", "--repo", repo)
	if err != nil {
		t.Fatal(err)
	}
	var status struct {
		Metadata []struct {
			Kind     string
			Captured bool
		}
	}
	if err := json.Unmarshal(out, &status); err != nil || len(status.Metadata) != 8 {
		t.Fatalf("%v in %s", err, out)
	}
	for _, m := range status.Metadata {
		if !m.Captured {
			kinds = append(kinds, m.Kind)
		}
	}
	return kinds
}

// setMetadata gives the cluster a quota and a group with a config: rights on what is not there are not missed.
func (b *bed) setMetadata(t *testing.T) { b.alterMetadata(t, false) }

func (b *bed) clearMetadata(t *testing.T) { b.alterMetadata(t, true) }

func (b *bed) alterMetadata(t *testing.T, remove bool) {
	t.Helper()
	name, timeout := "carol", "50000"
	quota := kmsg.NewPtrAlterClientQuotasRequest()
	quota.Entries = []kmsg.AlterClientQuotasRequestEntry{{
		Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: &name}},
		Ops:    []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Value: 1000, Remove: remove}},
	}}
	config := kmsg.NewPtrIncrementalAlterConfigsRequest()
	entry := kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "consumer.session.timeout.ms", Value: &timeout}
	if remove {
		entry.Op, entry.Value = kmsg.IncrementalAlterConfigOpDelete, nil
	}
	config.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{
		ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: group, Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{entry},
	}}
	client := b.Client(t)
	if resp, err := quota.RequestWith(t.Context(), client); err != nil || resp.Entries[0].ErrorCode != 0 {
		t.Fatal(resp, err)
	}
	if resp, err := config.RequestWith(t.Context(), client); err != nil || resp.Resources[0].ErrorCode != 0 {
		t.Fatal(resp, err)
	}
}

func carol() *kadm.ACLBuilder {
	return kadm.NewACLs().Topics(topic).ResourcePatternType(kadm.ACLPatternLiteral).Allow("User:carol").AllowHosts("*").Operations(kadm.OpRead)
}

// allowCarol gives somebody a right that is none of ours, and returns when the broker has taken note.
func (b *bed) allowCarol(t *testing.T) {
	t.Helper()
	if _, err := b.admin.CreateACLs(t.Context(), carol()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		acls, err := b.admin.DescribeACLs(t.Context(), carol())
		if err != nil {
			t.Fatal(err)
		}
		if len(acls) == 1 && len(acls[0].Described) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the broker does not know carol's right")
		}
	}
}
