//go:build e2e

package e2e_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/bed/objectstore"
)

// optionsFile writes a configuration that has everything of a store but its credentials.
func optionsFile(t *testing.T, server *objectstore.Server, more string) string {
	t.Helper()
	return writeFile(t, "offsite.yaml", `version: 1
store:
  maxUpload: 200MiB
  maxDownload: 200MiB
  s3:
    region: `+objectstore.Region+`
    endpoint: `+server.Endpoint()+`
    addressing: path
`+more)
}

// withoutPlace returns what the programs need of a server besides such a file.
func withoutPlace(server *objectstore.Server) (env []string) {
	for _, entry := range server.Env() {
		if !strings.HasPrefix(entry, "AWS_ENDPOINT_URL") && !strings.HasPrefix(entry, "AWS_REGION") {
			env = append(env, entry)
		}
	}
	return env
}

// With Object Lock, whoever has the keys of backupd cannot destroy what it has written: all versions of all objects are
// locked, and come back.
func TestObjectLock(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	fill(t, c, 100, "orders")
	server := objectstore.Start(t)
	client, bucket := server.Client(), aws.String("vault")
	_, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket, ObjectLockEnabledForBucket: aws.Bool(true)})
	must(t, err)
	file := optionsFile(t, server, "    checksum: crc32c\n    objectLock: {mode: compliance, days: 3}\n")
	r := &repository{t: t, url: "s3://vault/backup", env: withoutPlace(server)}

	report := decodeJSON[storeReport](t, r.run("backupd", nil, "check", "-c", file, "-o", "json"))
	for _, check := range report.Checks {
		if check.Check == "lock" && (check.Result != "ok" || !strings.Contains(check.Detail, "backupd locks each object for 3 days (COMPLIANCE)")) {
			t.Errorf("check says %+v", check)
		}
	}
	if len(report.Left) > 0 {
		t.Errorf("check leaves %q", report.Left)
	}

	r.backup(c, "-c", file)
	p := producer(t, c)
	for range 12 { // more than a part
		produce(t, p, &kgo.Record{Topic: "orders", Value: incompressible(900 << 10)})
	}
	r.backup(c, "-c", file)

	locked := attack(t, client, bucket)
	if locked < 5 {
		t.Errorf("only %d objects are locked", locked)
	}
	undelete(t, client, bucket)
	r.run("restored", nil, "verify", "-c", file)
	r.restore(c, "-c", file, "--topics", "orders", "--rename", "orders=copy")
	requireSame(t, readTopic(t, c, "orders"), readTopic(t, c, "copy"))
}

// attack tries to destroy all that is in a bucket, and returns how many objects of the repository have resisted.
func attack(t *testing.T, client *s3.Client, bucket *string) (locked int) {
	t.Helper()
	all, err := client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: bucket})
	must(t, err)
	for _, v := range all.Versions {
		if strings.Contains(*v.Key, "/probe/") {
			continue
		}
		_, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: v.Key, VersionId: v.VersionId, BypassGovernanceRetention: aws.Bool(true)})
		if err == nil {
			t.Errorf("%s could be destroyed", *v.Key)
			continue
		}
		_, err = client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: v.Key})
		must(t, err) // which only hides it
		locked++
	}
	return locked
}

// undelete removes what hides objects.
func undelete(t *testing.T, client *s3.Client, bucket *string) {
	t.Helper()
	all, err := client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: bucket})
	must(t, err)
	for _, m := range all.DeleteMarkers {
		if !strings.Contains(*m.Key, "/probe/") {
			_, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: m.Key, VersionId: m.VersionId})
			must(t, err)
		}
	}
}

// What the bucket cannot do ends in one error that names it. (This server keeps the object that it refuses all the same.)
func TestObjectLockRefused(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	fill(t, c, 3, "orders")
	server := objectstore.Start(t)
	r := &repository{t: t, url: "s3://" + objectstore.Bucket + "/backup", env: withoutPlace(server)}
	file := optionsFile(t, server, "    objectLock: {mode: governance, days: 1}\n")
	wantError(t, r.try("backupd", c, "once", "-c", file), exitUsage, "does not take objects with Object Lock GOVERNANCE")
	report := decodeJSON[storeReport](t, r.expect(exitRefused, "backupd", nil, "check", "-c", file, "-o", "json"))
	for _, check := range report.Checks {
		if check.Check == "lock" && (check.Result != "failed" || !strings.Contains(check.Detail, "cannot be locked")) {
			t.Errorf("check says %+v", check)
		}
	}
}
