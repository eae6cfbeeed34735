//go:build e2e

// Package rights_test proves what the documents tell an operator to set up, on a real broker: with the configuration of
// README.md and the rights of docs/operations.md backup and restore work, without any one of the rights they do not.
package rights_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	topic    = "orders"
	group    = "billing"
	sharers  = "sharers" // a share group
	records  = 10
	password = "secret"
)

var bin string // has the programs

// TestMain builds the programs once.
func TestMain(m *testing.M) {
	var err error
	if bin, err = os.MkdirTemp("", "offsite-rights-"); err != nil {
		log.Fatal(err)
	}
	code := 1
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/...").CombinedOutput(); err != nil {
		log.Printf("build the programs: %v\n%s", err, out)
	} else {
		code = m.Run()
	}
	os.RemoveAll(bin)
	os.Exit(code)
}

// right is one operation on one type of resource, for one of our two users.
type right struct {
	user, resource, operation string
}

// documented reads the rights from the commands in docs/operations.md: those for backup and restore, and those for metadata.
func documented(t *testing.T) (needed, metadata []right) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	first, second, _ := bytes.Cut(text, []byte("\n### Rights for metadata\n"))
	needed, metadata = rightsIn(first), rightsIn(second)
	if len(needed) < 6 || len(metadata) < 7 {
		t.Fatalf("docs/operations.md grants %v and %v, which is too little to be read rightly", needed, metadata)
	}
	return needed, metadata
}

func rightsIn(text []byte) (rights []right) {
	command := regexp.MustCompile(`(?m)^kafka-acls\.sh .*--allow-principal User:(\w+) --(cluster|(?:topic|group|transactional-id) '\*')((?: --operation \w+)+)$`)
	for _, m := range command.FindAllStringSubmatch(string(text), -1) {
		for _, operation := range strings.Split(m[3], " --operation ")[1:] {
			rights = append(rights, right{m[1], strings.TrimSuffix(m[2], " '*'"), operation})
		}
	}
	return rights
}

func TestDocumentedRightsAreEnoughAndNeeded(t *testing.T) {
	t.Parallel()
	rights, _ := documented(t)
	b := startBed(t)
	b.grant(t, everything, rights)
	if err := b.roundTrip(t, "all"); err != nil {
		t.Fatalf("with all rights: %v", err)
	}
	b.grant(t, prefixed, rights)
	if err := b.roundTrip(t, "prefixed"); err != nil {
		t.Fatalf("with all rights, on topics by their prefix: %v", err)
	}
	for _, r := range rights {
		t.Run(fmt.Sprintf("without %s on %s for %s", r.operation, r.resource, r.user), func(t *testing.T) {
			b.grant(t, everything, slices.DeleteFunc(slices.Clone(rights), func(other right) bool { return other == r }))
			err := b.roundTrip(t, strings.Join([]string{r.user, r.resource, r.operation}, "-"))
			if err == nil {
				t.Error("backup and restore work without it: the page asks for too much")
			} else if !strings.Contains(err.Error(), "not authorized") {
				t.Errorf("not for lack of rights: %v", err)
			}
		})
	}
}

// bed is a source with one topic, one group and one share group, where our users begin without any right. It is its own target, under
// other topic names.
type bed struct {
	*cluster.Cluster
	admin *kadm.Client
	dir   string // has configurations and repositories
}

func startBed(t *testing.T) *bed {
	b := &bed{dir: t.TempDir()}
	b.Cluster = cluster.Start(t, cluster.Options{
		Authorizer: true, Listeners: []cluster.Listener{cluster.SASLTLS},
		Users: []cluster.User{{Name: "backupd", Password: password}, {Name: "restored", Password: password}},
	})
	b.configure(t)
	client := b.Client(t)
	b.admin = kadm.NewClient(client)
	retention := "-1"
	if _, err := b.admin.CreateTopic(t.Context(), 1, 1, map[string]*string{"retention.ms": &retention}, topic); err != nil {
		t.Fatal(err)
	}
	for i := range records {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var offsets kadm.Offsets
	offsets.AddOffset(topic, 0, records/2, -1)
	if err := b.admin.CommitAllOffsets(t.Context(), group, offsets); err != nil {
		t.Fatal(err)
	}
	if answers, err := b.admin.AlterShareGroupOffsets(t.Context(), sharers, offsets); err != nil || answers.Error() != nil {
		t.Fatal(err, answers.Error())
	}
	return b
}

// configure writes the configuration that README.md shows, with the files that it names, for either program.
func (b *bed) configure(t *testing.T) {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(version: 1\n.*?)```").FindSubmatch(readme)
	if m == nil {
		t.Fatal("README.md shows no configuration")
	}
	ca, err := os.ReadFile(b.Authority().CertFile())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"ca.pem": ca, "password": []byte(password + "\n"),
		"backupd.yaml": m[1], "restored.yaml": bytes.Replace(m[1], []byte("username: backupd"), []byte("username: restored"), 1),
	} {
		if err := os.WriteFile(filepath.Join(b.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Which topics the rights are for.
const (
	everything = "*"
	prefixed   = topic
)

// grant leaves the users these rights and no others, and returns when the broker has taken note.
func (b *bed) grant(t *testing.T, topics string, rights []right) {
	t.Helper()
	all := kadm.NewACLs().AnyResource().ResourcePatternType(kadm.ACLPatternAny).Operations().Allow().AllowHosts().Deny().DenyHosts()
	if _, err := b.admin.DeleteACLs(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	for _, r := range rights {
		acl := kadm.NewACLs().ResourcePatternType(kadm.ACLPatternLiteral).Allow("User:" + r.user).AllowHosts()
		switch {
		case r.resource == "group":
			acl = acl.Groups("*")
		case r.resource == "cluster":
			acl = acl.Clusters()
		case r.resource == "transactional-id":
			acl = acl.TransactionalIDs("*")
		case topics == prefixed:
			acl = acl.Topics(topics).ResourcePatternType(kadm.ACLPatternPrefixed)
		default:
			acl = acl.Topics(topics)
		}
		created, err := b.admin.CreateACLs(t.Context(), acl.Operations(operation(t, r.operation)))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range created {
			if c.Err != nil {
				t.Fatalf("grant %v: %v", r, c.Err)
			}
		}
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		there, err := b.admin.DescribeACLs(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, d := range there {
			n += len(d.Described)
		}
		if n == len(rights) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the broker knows %d ACLs, want %d", n, len(rights))
		}
	}
}

func operation(t *testing.T, name string) kadm.ACLOperation {
	for _, op := range []kadm.ACLOperation{
		kadm.OpRead, kadm.OpWrite, kadm.OpCreate, kadm.OpDelete, kadm.OpAlter, kadm.OpDescribe, kadm.OpClusterAction,
		kadm.OpDescribeConfigs, kadm.OpAlterConfigs, kadm.OpIdempotentWrite,
	} {
		if strings.EqualFold(strings.ReplaceAll(op.String(), "_", ""), name) {
			return op
		}
	}
	t.Fatalf("docs/operations.md names an operation %q", name)
	return 0
}

// roundTrip captures the topic with its group and restores both under other names.
func (b *bed) roundTrip(t *testing.T, name string) error {
	t.Helper()
	repo := filepath.Join(b.dir, name)
	if _, err := b.as("backupd", "once", "--repo", repo, "--topics", topic); err != nil {
		return err
	}
	out, err := b.as("restored", "run", "--yes", "-o", "json", "--repo", repo, "--rename", topic+"="+topic+"-"+name)
	if err != nil {
		return err
	}
	var result struct {
		Topics []struct{ Records int }
		Groups []struct {
			Group     string
			Committed int
		}
	}
	if err := json.Unmarshal(out, &result); err != nil {
		return err
	}
	if len(result.Topics) != 1 || result.Topics[0].Records != records {
		return fmt.Errorf("restored topics %v, want one of %d records", result.Topics, records)
	}
	if len(result.Groups) != 2 || result.Groups[0].Group != group || result.Groups[1].Group != sharers || result.Groups[0].Committed+result.Groups[1].Committed != 2 {
		return fmt.Errorf("restored groups %v, want %s and %s with an offset each", result.Groups, group, sharers)
	}
	return nil
}

// as runs the program as the user that is called like it.
func (b *bed) as(program string, args ...string) ([]byte, error) {
	args = append(args, "-c", filepath.Join(b.dir, program+".yaml"), "--bootstrap-server", strings.Join(b.Addrs(cluster.SASLTLS), ","))
	cmd := exec.Command(filepath.Join(bin, program), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w: %s", program, err, &stderr)
	}
	return out, nil
}
