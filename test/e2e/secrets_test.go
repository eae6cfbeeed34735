//go:build e2e

package e2e_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/test/bed/azurite"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/bed/fakegcs"
	"github.com/offsite-kafka/offsite/test/bed/objectstore"
)

// What is wrong with a secret, or where one has been written by mistake, both programs say at the highest log level, without the secret.
func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	forbidding := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `{"error":{"code":403,"message":"not you"}}`)
	}))
	defer forbidding.Close()
	with := func(userinfo, url string) string { return strings.Replace(url, "://", "://"+userinfo+"@", 1) }
	key := base64.StdEncoding.EncodeToString([]byte(secret))
	account := `{"type":"service_account","client_email":"a@b.c","private_key_id":"1","token_uri":"` + forbidding.URL + `","private_key":"-----BEGIN PRIVATE KEY-----\n` + key + `\n-----END PRIVATE KEY-----\n"}`
	s3, gcs, azure := "s3://"+objectstore.Bucket+"/backup", "gs://"+fakegcs.Bucket+"/backup", "az://"+azurite.Account+"/"+azurite.Container+"/backup"
	identity := newIdentity(t, "identity").secret(t)
	s3Env := []string{"AWS_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true", "AWS_ACCESS_KEY_ID=somebody", "AWS_SECRET_ACCESS_KEY=" + secret, "AWS_ENDPOINT_URL=" + forbidding.URL}
	for _, test := range []struct {
		name, url string
		env       []string
		args      []string
		unseen    string // besides the secret
	}{
		{"S3: 403", s3, s3Env, nil, ""},
		{"S3: 403, session", s3, append(s3Env, "AWS_SESSION_TOKEN="+secret+"2"), nil, ""},
		{"S3: key in the URL", "s3://somebody:" + secret + "@bucket/backup", nil, nil, ""},
		{"S3: key in the URL, with a mistake", "s3://somebody:" + secret + "@bucket%zz/backup", nil, nil, ""},
		{"S3: endpoint", s3, append(s3Env, "AWS_ENDPOINT_URL="+with("user:"+secret, forbidding.URL)), nil, ""},
		{"S3: endpoint that is refused", s3, append(s3Env, "AWS_ENDPOINT_URL=http://user:"+secret+"@127.0.0.1:1"), nil, ""},
		{"S3: proxy", s3, append(s3Env, "AWS_ENDPOINT_URL=http://store.invalid", "HTTP_PROXY=http://user:"+secret+"@127.0.0.1:1"), nil, ""},
		{"S3: proxy that forbids", s3, append(s3Env, "AWS_ENDPOINT_URL=http://store.invalid", "HTTP_PROXY="+with("user:"+secret, forbidding.URL)), nil, ""},
		{"GCS: key file", gcs, []string{"STORAGE_EMULATOR_HOST=", "GOOGLE_APPLICATION_CREDENTIALS=" + writeFile(t, "account.json", account)}, nil, key},
		{"GCS: no key file", gcs, []string{"STORAGE_EMULATOR_HOST=", "GOOGLE_APPLICATION_CREDENTIALS=" + writeFile(t, "account.json", secret)}, nil, ""},
		{"GCS: endpoint", gcs, []string{"STORAGE_EMULATOR_HOST=" + with("user:"+secret, forbidding.URL)}, nil, ""},
		{"GCS: key in the URL", "gs://somebody:" + secret + "@bucket/backup", nil, nil, ""},
		{"Azure: 403", azure, []string{"AZURE_STORAGE_SERVICE_ENDPOINT=" + forbidding.URL, "AZURE_STORAGE_KEY=" + key}, nil, key},
		{"Azure: connection string", azure, []string{"AZURE_STORAGE_CONNECTION_STRING=DefaultEndpointsProtocol=http;AccountName=" + azurite.Account + ";AccountKey=" + key + ";BlobEndpoint=" + forbidding.URL + "/" + azurite.Account}, nil, key},
		{"Azure: no connection string", azure, []string{"AZURE_STORAGE_CONNECTION_STRING=AccountKey=" + secret}, nil, ""},
		{"Azure: signature", azure, []string{"AZURE_STORAGE_SERVICE_ENDPOINT=" + forbidding.URL, "AZURE_STORAGE_SAS_TOKEN=sv=2024-01-01&sig=" + secret}, nil, ""},
		{"Azure: signature, refused", azure, []string{"AZURE_STORAGE_SERVICE_ENDPOINT=http://127.0.0.1:1", "AZURE_STORAGE_SAS_TOKEN=sv=2024-01-01&sig=" + secret}, nil, ""},
		{"Azure: signature in the URL", azure + "?sv=2024-01-01&sig=" + secret, nil, nil, ""},
		{"Azure: endpoint", azure, []string{"AZURE_STORAGE_SERVICE_ENDPOINT=" + with("user:"+secret, forbidding.URL), "AZURE_STORAGE_KEY=" + key}, nil, key},
		{"identity: not one", "", nil, []string{"-X", "encryption.identityFile=" + writeFile(t, "identity", secret)}, ""},
		{"identity: cut off", "", nil, []string{"-X", "encryption.identityFile=" + writeFile(t, "identity", identity[:60])}, identity[20:60]},
		{"identity: not one, in the environment", "", []string{"OFFSITE_IDENTITY=" + secret}, nil, ""},
		{"identity: itself for its file", "", nil, []string{"-X", "encryption.identityFile=" + identity}, identity},
		{"identity: as a recipient", "", nil, []string{"-X", "encryption.recipients=[" + identity + "]"}, identity},
		{"identity: as a writer", "", nil, []string{"-X", "encryption.writers=[" + identity + "]"}, identity},
		{"identity: in a file of recipients", "", nil, []string{"-X", "encryption.recipientsFile=" + writeFile(t, "recipients", identity)}, identity},
		{"signing key: not one", "", nil, []string{"-X", "signing.keyFile=" + writeFile(t, "signing", secret)}, ""},
		{"signing key: broken", "", nil, []string{"-X", "signing.keyFile=" + writeFile(t, "signing", "-----BEGIN PRIVATE KEY-----\n"+key+"\n-----END PRIVATE KEY-----\n")}, key},
		{"signing key: itself for its file", "", nil, []string{"-X", "signing.keyFile=-----BEGIN PRIVATE KEY-----\n" + key + "\n-----END PRIVATE KEY-----\n"}, key},
		{"signing key: for the public one", "", nil, []string{"-X", "signing.publicKey=-----BEGIN PRIVATE KEY-----" + key}, key},
		{"replica: key in the URL", "", nil, []string{"-X", "replicas=[{url: 's3://somebody:" + secret + "@bucket/backup'}]"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := &repository{t: t, url: test.url, env: test.env}
			if test.url == "" {
				r.url = t.TempDir() + "/repository"
			}
			for _, c := range [][]string{{"backupd", "status"}, {"restored", "verify"}} {
				o := r.try(c[0], nil, append(append(c[1:], "--log-level", "debug"), test.args...)...)
				if o.code == exitOK || o.stderr == "" {
					t.Errorf("%s ends with %d and says %q", c[0], o.code, o.stderr)
				}
				for _, unseen := range []string{secret, test.unseen} {
					if unseen != "" && strings.Contains(o.stdout+o.stderr, unseen) {
						t.Errorf("%s shows it:\n%s%s", c[0], o.stdout, o.stderr)
					}
				}
			}
		})
	}
}

// A password of Kafka is not shown where it works, either; nor are keys that somebody gives for others.
func TestSecretsThatWorkAreNeverShown(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Listeners: []cluster.Listener{cluster.SASL}, Users: []cluster.User{{Name: "alice", Password: secret}}})
	fill(t, c, 3, "orders")
	reader, daemon := newIdentity(t, "reader"), newIdentity(t, "daemon")
	signing := writeFile(t, "signing.pem", "")
	r := newRepository(t)
	r.run("backupd", nil, "key", "generate", "--signing", "--file", signing+"2")
	text := ""
	say := func(o outcome) { text += o.stdout + o.stderr }
	sasl := []string{"-X", "kafka.sasl.username=alice", "-X", "kafka.sasl.passwordFile=" + writeFile(t, "password", secret), "--bootstrap-server", c.Addrs(cluster.SASL)[0], "--log-level", "debug"}
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-512"} {
		say(r.run("backupd", nil, daemon.as(append(sasl, "once", "-X", "kafka.sasl.mechanism="+mechanism, "-X", "encryption.recipients=["+reader.recipient+"]", "-X", "signing.keyFile="+signing+"2")...)...))
	}
	say(r.run("restored", nil, reader.as(append(sasl, "plan", "-X", "kafka.sasl.mechanism=PLAIN", "--rename", "orders=copy")...)...))
	wantError(t, r.try("backupd", nil, reader.as("key", "add", reader.secret(t))...), exitUsage, "a recipient of age begins with age1")
	say(r.try("backupd", nil, reader.as("key", "add", reader.secret(t), "--log-level", "debug")...))
	say(r.try("backupd", nil, reader.as("key", "retire", reader.secret(t), "--log-level", "debug")...))
	for _, s := range []string{secret, reader.secret(t), daemon.secret(t)} {
		if strings.Contains(text, s) {
			t.Errorf("a secret is shown:\n%s", text)
		}
	}
}
