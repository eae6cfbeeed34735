//go:build e2e

package rights_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/twmb/franz-go/pkg/kadm"
)

// Whoever may read the log of groups gets exact offsets; whoever may not is told so, and polls, or is refused, as the
// configuration says. The same repository bears the change from one to the other and back.
func TestRightsOnTheLogOfGroups(t *testing.T) {
	t.Parallel()
	rights, _ := documented(t)
	b := startBed(t)
	repo := filepath.Join(b.dir, "groups")
	for i, step := range []struct {
		name, topics, mode string
		exact              bool
		says               string
		refused            bool
	}{
		{"everything", everything, "auto", true, "", false},
		{"prefix, auto", prefixed, "auto", false, "group offsets are polled", false},
		{"prefix, poll", prefixed, "poll", false, "", false},
		{"prefix, log", prefixed, "log", false, "__consumer_offsets", true},
		{"everything again", everything, "log", true, "", false},
		{"everything, poll", everything, "poll", false, "", false},
	} {
		b.grant(t, step.topics, rights)
		var offsets kadm.Offsets
		offsets.AddOffset(topic, 0, int64(1+i), -1)
		if err := b.admin.CommitAllOffsets(t.Context(), group, offsets); err != nil {
			t.Fatal(err)
		}
		said, err := b.backupSays(repo, "--topics", topic, "-X", "groups.capture="+step.mode)
		if (err != nil) != step.refused || step.says != "" && !strings.Contains(said, step.says) || step.says == "" && strings.Contains(said, "polled") {
			t.Fatalf("%s: backupd says %q, error %v", step.name, said, err)
		}
		if step.refused {
			continue
		}
		out, err := b.as("restored", "groups", "-o", "json", "--repo", repo)
		if err != nil {
			t.Fatal(err)
		}
		var then struct {
			Exact  bool
			Groups []struct {
				Group   string
				Type    string
				Offsets []struct{ Offset int64 }
			}
		}
		if err := json.Unmarshal(out, &then); err != nil {
			t.Fatal(err)
		}
		if then.Exact != step.exact || len(then.Groups) != 2 || then.Groups[0].Group != group || len(then.Groups[0].Offsets) != 1 || then.Groups[0].Offsets[0].Offset != int64(1+i) {
			t.Errorf("%s: groups are %+v, want offset %d, exact: %v", step.name, then, 1+i, step.exact)
		}
	}
}

// backupSays makes a backup and returns what backupd logs.
func (b *bed) backupSays(repo string, args ...string) (string, error) {
	args = append([]string{"once", "--repo", repo, "-c", filepath.Join(b.dir, "backupd.yaml"), "--bootstrap-server", strings.Join(b.Addrs(cluster.SASLTLS), ",")}, args...)
	cmd := exec.Command(filepath.Join(bin, "backupd"), args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err := cmd.Run()
	return stderr.String(), err
}
