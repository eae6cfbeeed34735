//go:build e2e

package e2e_test

import (
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/offsite-kafka/offsite/test/bed/authority"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/bed/objectstore"
)

// A replica on a server of another owner, with another authority and credentials, whose objects are locked, is kept,
// looked at, copied to and restored from beside a store that has nothing of that.
func TestReplicaElsewhere(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	fill(t, c, 100, "orders")
	first, vault := objectstore.Start(t), objectstore.Start(t)
	bucket := aws.String("vault")
	_, err := vault.Client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket, ObjectLockEnabledForBucket: aws.Bool(true)})
	must(t, err)
	a, err := authority.New(t.TempDir())
	must(t, err)
	profiles := writeFile(t, "credentials", "[vault]\naws_access_key_id = "+vault.AccessKey+"\naws_secret_access_key = "+vault.SecretKey+"\n")
	env := append(first.Env(), "AWS_SHARED_CREDENTIALS_FILE="+profiles)
	r := &repository{t: t, url: "s3://" + objectstore.Bucket + "/prod", env: env}
	second := &repository{t: t, url: "s3://vault/prod", env: env}
	settings := `
    s3: {endpoint: "https://` + secureFront(t, a, vault.Endpoint()) + `", addressing: path, profile: vault, caFile: ` + a.CertFile() + `, objectLock: {mode: governance, days: 2}}
`
	file := writeFile(t, "offsite.yaml", "version: 1\nreplicas:\n  - url: "+second.url+"\n    every: 1s"+settings)

	daemon := r.start("backupd", c, "run", "-c", file)
	eventually(t, "the replica to be up to date", func() bool {
		o := r.try("backupd", nil, "status", "-c", file, "-o", "json")
		if o.code != exitOK {
			return false // it is not there yet
		}
		s := decodeJSON[replicaStatus](t, o)
		lag := s.Replicas[0].LagEntries
		return lag != nil && *lag == 0 && s.Entries > 0
	})
	daemon.stop(t)
	r.run("backupd", nil, "copy", "--to", second.url, "-c", file, "--verify")
	wantError(t, r.try("backupd", nil, "copy", "--to", second.url), exitUsage, "bucket vault does not exist")
	requireLocked(t, vault, bucket)

	damage := vault.ObjectFile("vault", "prod/repository.json")
	must(t, os.Remove(damage))
	second.expect(exitDamaged, "restored", nil, "list", "-c", file)
	r.run("backupd", nil, "copy", "--to", second.url, "-c", file)
	second.run("restored", nil, "verify", "-c", file)
	second.restore(c, "-c", file, "--topics", "orders", "--rename", "orders=copy")
	requireSame(t, readTopic(t, c, "orders"), readTopic(t, c, "copy"))
	must(t, os.Remove(first.ObjectFile(objectstore.Bucket, "prod/repository.json")))
	r.run("backupd", c, "repair", "--from", second.url, "-c", file, "--dry-run")
	r.expect(exitDamaged, "restored", nil, "list", "-c", file)
	r.run("backupd", nil, "repair", "--from", second.url, "-c", file) // it takes no cluster
	if o := r.run("backupd", c, "once", "-c", file); !strings.Contains(o.stderr, "the replicas do not have it yet") {
		t.Errorf("once said nothing of the replica: %s", o.stderr)
	}
}

// requireLocked makes sure that the server keeps each object in the bucket.
func requireLocked(t *testing.T, server *objectstore.Server, bucket *string) {
	t.Helper()
	all, err := server.Client().ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: bucket})
	must(t, err)
	for _, o := range all.Contents {
		kept, err := server.Client().GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: bucket, Key: o.Key})
		if err != nil || kept.Retention.Mode != types.ObjectLockRetentionModeGovernance {
			t.Errorf("%s: %+v, %v", *o.Key, kept, err)
		}
		if !strings.HasPrefix(*o.Key, "prod/") {
			t.Errorf("%s is outside of the copy", *o.Key)
		}
	}
	if len(all.Contents) < 3 {
		t.Errorf("there are %d objects", len(all.Contents))
	}
}
