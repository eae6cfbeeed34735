//go:build e2e

package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/azurite"
	"github.com/offsite-kafka/offsite/test/bed/objectstore"
)

// storeReport is the output of backupd check.
type storeReport struct {
	SchemaVersion int
	Store         string
	Checks        []struct{ Check, Result, Detail, Fix string }
	Left          []string
}

// check runs backupd check, which must end with the given code, and returns what it found, by check.
func (r *repository) check(t *testing.T, code int) (map[string]string, storeReport) {
	t.Helper()
	report := decodeJSON[storeReport](t, r.expect(code, "backupd", nil, "check", "-o", "json"))
	found := make(map[string]string)
	for _, c := range report.Checks {
		found[c.Check] = c.Result
		t.Logf("%s: %s: %s: %s", c.Check, c.Result, c.Detail, c.Fix)
	}
	if report.SchemaVersion != 1 || report.Store != r.url || len(found) != 11 {
		t.Errorf("got %+v", report)
	}
	return found, report
}

// wantFound compares what was found; what is not among those given must be ok.
func wantFound(t *testing.T, found, want map[string]string) {
	t.Helper()
	for name, got := range found {
		expected := want[name]
		if expected == "" {
			expected = "ok"
		}
		if got != expected {
			t.Errorf("%s is %s, want %s", name, got, expected)
		}
	}
}

// fakeSource returns the address of an embedded cluster with some records: what is tested here is not Kafka.
func fakeSource(t *testing.T) string {
	t.Helper()
	f, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	must(t, err)
	t.Cleanup(f.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(f.ListenAddrs()...), kgo.DefaultProduceTopic("orders"))
	must(t, err)
	defer client.Close()
	must(t, client.ProduceSync(t.Context(), kgo.StringRecord("a"), kgo.StringRecord("b")).FirstErr())
	return f.ListenAddrs()[0]
}

// names returns the objects of the bucket.
func names(t *testing.T, server *objectstore.Server) []string {
	t.Helper()
	out, err := server.Client().ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(objectstore.Bucket)})
	must(t, err)
	var all []string
	for _, object := range out.Contents {
		all = append(all, *object.Key)
	}
	return all
}

func TestCheckS3(t *testing.T) {
	t.Parallel()
	server := objectstore.Start(t)
	r := &repository{t: t, url: "s3://" + objectstore.Bucket + "/backup", env: server.Env()}
	plain := map[string]string{"versioning": "warning", "lock": "warning", "lifecycle": "not known"}
	found, _ := r.check(t, exitOK)
	wantFound(t, found, plain)
	if got := names(t, server); len(got) > 0 {
		t.Errorf("%q stay behind", got)
	}
	r.expect(exitNoRepository, "backupd", nil, "status")

	source := fakeSource(t)
	r.run("backupd", nil, "once", "--bootstrap-server", source)
	before := names(t, server)
	if slices.ContainsFunc(before, func(name string) bool { return strings.Contains(name, "probe/") }) {
		t.Errorf("the first start leaves %q behind", before)
	}
	found, _ = r.check(t, exitOK)
	wantFound(t, found, plain)
	if got := names(t, server); !slices.Equal(got, before) {
		t.Errorf("there are %q, and were %q", got, before)
	}
	r.run("backupd", nil, "once", "--bootstrap-server", source)
	r.run("restored", nil, "verify")

	_, err := server.Client().PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: aws.String(objectstore.Bucket), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	must(t, err)
	found, _ = r.check(t, exitOK)
	wantFound(t, found, map[string]string{"lock": "warning", "lifecycle": "not known"})
}

func TestCheckLockedBucket(t *testing.T) {
	t.Parallel()
	server := objectstore.Start(t)
	bucket := aws.String("locked")
	_, err := server.Client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket, ObjectLockEnabledForBucket: aws.Bool(true)})
	must(t, err)
	_, err = server.Client().PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{
		Bucket: bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{
			ObjectLockEnabled: types.ObjectLockEnabledEnabled,
			Rule:              &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeGovernance, Days: aws.Int32(1)}},
		},
	})
	must(t, err)
	r := &repository{t: t, url: "s3://locked/backup", env: server.Env()}
	found, report := r.check(t, exitOK)
	wantFound(t, found, map[string]string{"lifecycle": "not known"})
	for _, c := range report.Checks {
		if c.Check == "lock" && !strings.Contains(c.Detail, "24 hours (GOVERNANCE)") {
			t.Errorf("says %q", c.Detail)
		}
	}
}

// unconditional is a way to an S3 server on which conditions get lost, as those exist that sign requests anew.
func unconditional(t *testing.T, server *objectstore.Server) string {
	t.Helper()
	to, err := url.Parse(server.Endpoint())
	must(t, err)
	signer := v4.NewSigner()
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		body, _ := io.ReadAll(in.Body)
		sum := sha256.Sum256(body)
		digest := hex.EncodeToString(sum[:])
		out := in.Clone(in.Context())
		out.Header = http.Header{"X-Amz-Content-Sha256": {digest}}
		for _, name := range []string{"Range", "Content-Md5", "Content-Type"} {
			if value := in.Header.Get(name); value != "" {
				out.Header.Set(name, value)
			}
		}
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		out.URL.Scheme, out.URL.Host, out.Host = to.Scheme, to.Host, to.Host
		keys := aws.Credentials{AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey}
		if err := signer.SignHTTP(in.Context(), keys, out, digest, "s3", objectstore.Region, time.Now()); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		proxy.ServeHTTP(w, out)
	}))
	t.Cleanup(web.Close)
	return web.URL
}

func TestStoreWithoutFence(t *testing.T) {
	t.Parallel()
	server, source := objectstore.Start(t), fakeSource(t)
	good := &repository{t: t, url: "s3://" + objectstore.Bucket + "/backup", env: server.Env()}
	bad := &repository{t: t, url: good.url, env: append(server.Env(), "AWS_ENDPOINT_URL="+unconditional(t, server))}
	found, _ := bad.check(t, exitRefused)
	wantFound(t, found, map[string]string{"create-if-absent": "failed", "versioning": "warning", "lock": "warning", "lifecycle": "not known"})
	o := bad.try("backupd", nil, "check")
	if o.code != exitRefused || !strings.Contains(o.stdout, "FAILED     create-if-absent") || !strings.Contains(o.stderr, "not fit for a repository") {
		t.Errorf("ended with %d\n%s\n%s", o.code, o.stdout, o.stderr)
	}

	once := []string{"once", "--bootstrap-server", source}
	for _, command := range []string{"once", "run"} {
		wantError(t, bad.try("backupd", nil, command, "--bootstrap-server", source), exitRefused, good.url, "does not honour create-if-absent", "store.unsafeNoFence: true")
	}
	if got := names(t, server); len(got) > 0 {
		t.Errorf("%q stay behind", got)
	}

	unsafe := append(slices.Clone(once), "-X", "store.unsafeNoFence=true")
	for range 2 { // a new repository, and one that is there
		if o := bad.run("backupd", nil, unsafe...); strings.Count(o.stderr, "store.unsafeNoFence") != 1 {
			t.Errorf("warns of it in\n%s", o.stderr)
		}
	}
	wantError(t, bad.try("backupd", nil, once...), exitRefused, good.url, "does not honour create-if-absent", "repository.json", "store.unsafeNoFence: true")
	if o := good.run("backupd", nil, once...); strings.Contains(o.stderr, "unsafeNoFence") {
		t.Errorf("warns of a good store:\n%s", o.stderr)
	}
	good.run("restored", nil, "verify")
}

func TestCheckGCS(t *testing.T) {
	t.Parallel()
	r := newGCSBucket(t)
	found, report := r.check(t, exitOK)
	wantFound(t, found, map[string]string{"versioning": "warning", "lock": "warning"})
	if len(report.Left) > 0 {
		t.Errorf("%q stay behind", report.Left)
	}
}

// Whoever may not delete is told what stays behind, which is little.
func TestCheckAzure(t *testing.T) {
	t.Parallel()
	server := azurite.Start(t)
	r := &repository{t: t, url: "az://" + azurite.Account + "/" + azurite.Container + "/backup", env: server.Env()}
	found, report := r.check(t, exitOK)
	wantFound(t, found, map[string]string{"lifecycle": "not known", "versioning": "not known", "lock": "warning"})
	if len(report.Left) > 0 {
		t.Errorf("%q stay behind", report.Left)
	}

	credential, err := container.NewSharedKeyCredential(azurite.Account, server.Key)
	must(t, err)
	client, err := container.NewClientWithSharedKeyCredential(server.ServiceEndpoint()+"/"+azurite.Container, credential, nil)
	must(t, err)
	signed, err := client.GetSASURL(sas.ContainerPermissions{Read: true, List: true, Create: true, Write: true}, time.Now().Add(time.Hour), nil)
	must(t, err)
	_, token, _ := strings.Cut(signed, "?")
	r.env = append(r.env, "AZURE_STORAGE_KEY=", "AZURE_STORAGE_SAS_TOKEN="+token)
	found, report = r.check(t, exitOK)
	wantFound(t, found, map[string]string{"lifecycle": "not known", "versioning": "not known", "lock": "not known"})
	if len(report.Left) != 3 || !strings.HasPrefix(report.Left[0], "probe/") {
		t.Errorf("%q stay behind, want 3 objects", report.Left)
	}
	o := r.run("backupd", nil, "once", "--bootstrap-server", fakeSource(t))
	if !strings.Contains(o.stderr, "stays behind") || strings.Count(o.stderr, "probe/") != 2 {
		t.Errorf("does not say that two objects stay behind:\n%s", o.stderr)
	}
	r.run("restored", nil, "verify")
}

func TestCheckBadStore(t *testing.T) {
	t.Parallel()
	server := objectstore.Start(t)
	good := "s3://" + objectstore.Bucket + "/backup"
	for _, test := range []struct {
		name, url, env string
		code           int
		words          []string
	}{
		{"no such bucket", "s3://nobucket/backup", "", exitUsage, []string{"bucket nobucket does not exist"}},
		{"unknown host", good, "AWS_ENDPOINT_URL=http://store.invalid:9000", exitFailed, []string{"no such host", "AWS_ENDPOINT_URL_S3"}},
		{"wrong secret", good, "AWS_SECRET_ACCESS_KEY=" + secret, exitRefused, []string{"not fit for a repository"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &repository{t: t, url: test.url, env: append(server.Env(), test.env)}
			wantJSONError(t, r.try("backupd", nil, "check", "-o", "json"), test.code, test.words...)
		})
	}
}
