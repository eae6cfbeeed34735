package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/config"
)

// write returns the path of a file with the given text.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "backupd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadSetsEveryKey(t *testing.T) {
	t.Setenv("OFFSITE_TEST_HOSTS", "a:9092, b:9093")
	c, err := config.Load(write(t, `
version: 1
kafka:
  bootstrapServers: ${OFFSITE_TEST_HOSTS}
  clientId: ${OFFSITE_TEST_UNSET:-me}
  tls: {caFile: ca.pem, certFile: /c.pem, keyFile: k.pem, serverName: broker}
  sasl: {mechanism: scram-sha-512, username: bob, passwordFile: pw}
store:
  url: s3://bucket/prefix
  unsafeNoFence: true
  maxUpload: 50MiB
  maxDownload: 64KiB
  s3:
    profile: backup
    caFile: s3.pem
    region: eu-central-1
    endpoint: https://s3.example.net:9000
    addressing: virtual
    checksum: crc32c
    storageClass: GLACIER_IR
    sse: kms
    kmsKeyId: alias/backup
    objectLock: {mode: compliance, days: 30}
  gcs: {credentialsFile: gcs.json, storageClass: NEARLINE, kmsKey: projects/p/locations/l/keyRings/r/cryptoKeys/k}
  azure: {connectionStringFile: azure, accessTier: Cool}
select:
  topics:
    include: orders
    exclude: ["a*", b]
segment: {maxBytes: 8MiB, maxAge: 1m}
points: {every: 30s}
groups: {capture: log}
metadata: {every: 2m}
snapshots: {every: 500}
merge: {every: 1h, minAge: 5m, targetBytes: 64MiB, maxBandwidth: 20MiB}
replicas:
  - url: s3://elsewhere/prod
    every: 10s
    maxUpload: 10MiB
    maxDownload: 20MiB
    s3: {profile: second, caFile: second.pem, endpoint: "https://second:9000", addressing: path, objectLock: {mode: governance, days: 7}}
  - url: gs://elsewhere/prod
    gcs: {credentialsFile: second.json}
  - url: az://elsewhere/c/prod
    azure: {connectionStringFile: /second}
retention:
  window: 7d
  keep: {last: 1, hourly: 2, daily: 3, weekly: 4, monthly: 5, yearly: 6}
  minPoints: 7
  topics: [{include: ["ledger-*"], exclude: [ledger-tmp], window: 36h, keep: {yearly: 10}}]
  timezone: Europe/Berlin
  legalHold: true
  grace: 2d
  maxRemovedShare: 0.25
  every: 6h
verify: {every: 24h, level: decode, sample: 2.5%}
admin: {listen: "[::1]:8081"}
restore:
  at: 2026-11-20T14:30:00Z
  topics: ["orders*", "!orders-tmp", "old@1"]
  rename: {orders: '${OFFSITE_TEST_UNSET:-copy}', a.b: c}
  atOffsets: ends.csv
  untilTimestamp: -2h
  acceptGap: true
  ifExists: append
  holdRetention: 24h
  replicationFactor: 3
  metadata: topics
  overrides:
    - {topics: orders-1, at: 12}
    - topics: ["ledger-*", old@1]
      untilTimestamp: 1763649000000
      rename: {old@1: old}
      replicationFactor: 1
      configs: {retention.ms: -1, cleanup.policy: null, segment.ms: ""}
log: {level: warn, format: json}
`))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(c.Kafka.SASL.PasswordFile)
	want := &config.Config{
		Version: 1,
		Kafka: config.Kafka{
			BootstrapServers: config.Servers{"a:9092", "b:9093"}, ClientID: "me",
			TLS:  &config.TLS{CAFile: filepath.Join(dir, "ca.pem"), CertFile: "/c.pem", KeyFile: filepath.Join(dir, "k.pem"), ServerName: "broker"},
			SASL: &config.SASL{Mechanism: "scram-sha-512", Username: "bob", PasswordFile: filepath.Join(dir, "pw")},
		},
		Store: config.Store{
			URL: "s3://bucket/prefix", UnsafeNoFence: true, MaxUpload: 50 << 20, MaxDownload: 64 << 10,
			S3: config.S3{
				Profile: "backup", CAFile: filepath.Join(dir, "s3.pem"), Region: "eu-central-1", Endpoint: "https://s3.example.net:9000", Addressing: "virtual", Checksum: "crc32c",
				StorageClass: "GLACIER_IR", SSE: "kms", KMSKeyID: "alias/backup", ObjectLock: config.ObjectLock{Mode: "compliance", Days: 30},
			},
			GCS:   config.GCS{CredentialsFile: filepath.Join(dir, "gcs.json"), StorageClass: "NEARLINE", KMSKey: "projects/p/locations/l/keyRings/r/cryptoKeys/k"},
			Azure: config.Azure{ConnectionStringFile: filepath.Join(dir, "azure"), AccessTier: "Cool"},
		},
		Select:    config.Select{Topics: config.Patterns{Include: []string{"orders"}, Exclude: []string{"a*", "b"}}},
		Segment:   config.Segment{MaxBytes: 8 << 20, MaxAge: config.Duration(time.Minute)},
		Points:    config.Points{Every: config.Duration(30 * time.Second)},
		Groups:    config.Groups{Capture: "log"},
		Metadata:  config.Metadata{Every: config.Duration(2 * time.Minute)},
		Verify:    config.Verify{Every: config.Duration(24 * time.Hour), Level: "decode", Sample: 25_000},
		Admin:     config.Admin{Listen: "[::1]:8081"},
		Snapshots: config.Snapshots{Every: 500},
		Merge:     config.Merge{Every: config.Duration(time.Hour), MinAge: config.Duration(5 * time.Minute), TargetBytes: 64 << 20, MaxBandwidth: 20 << 20},
		Replicas: []config.Replica{
			{
				URL: "s3://elsewhere/prod", Every: config.Duration(10 * time.Second), MaxUpload: 10 << 20, MaxDownload: 20 << 20,
				S3: config.S3{Profile: "second", CAFile: filepath.Join(dir, "second.pem"), Endpoint: "https://second:9000", Addressing: "path", ObjectLock: config.ObjectLock{Mode: "governance", Days: 7}},
			},
			{URL: "gs://elsewhere/prod", GCS: config.GCS{CredentialsFile: filepath.Join(dir, "second.json")}},
			{URL: "az://elsewhere/c/prod", Azure: config.Azure{ConnectionStringFile: "/second"}},
		},
		Retention: config.Retention{
			Window: config.Span(7 * 24 * time.Hour), Keep: config.Keep{Last: 1, Hourly: 2, Daily: 3, Weekly: 4, Monthly: 5, Yearly: 6}, MinPoints: 7,
			Topics:   []config.TopicRetention{{Include: []string{"ledger-*"}, Exclude: []string{"ledger-tmp"}, Window: config.Span(36 * time.Hour), Keep: config.Keep{Yearly: 10}}},
			Timezone: "Europe/Berlin", LegalHold: true, Grace: config.Span(48 * time.Hour), MaxRemovedShare: 0.25, Every: config.Span(6 * time.Hour),
		},
		Restore: config.Restore{
			At: "2026-11-20T14:30:00Z", Topics: []string{"orders*", "!orders-tmp", "old@1"}, Rename: map[string]string{"orders": "copy", "a.b": "c"},
			AtOffsets: filepath.Join(dir, "ends.csv"), UntilTimestamp: "-2h", AcceptGap: true, IfExists: "append", HoldRetention: config.Duration(24 * time.Hour),
			ReplicationFactor: 3, Metadata: []string{"topics"},
			Overrides: []config.Override{
				{Topics: []string{"orders-1"}, At: "12"},
				{
					Topics: []string{"ledger-*", "old@1"}, UntilTimestamp: "1763649000000", Rename: map[string]string{"old@1": "old"}, ReplicationFactor: 1,
					Configs: map[string]*string{"retention.ms": text("-1"), "cleanup.policy": nil, "segment.ms": text("")},
				},
			},
		},
		Log: config.Log{Level: "warn", Format: "json"},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v\nwant %+v", c, want)
	}
}

func text(s string) *string { return &s }

func TestLoadKeepsDefaults(t *testing.T) {
	for name, text := range map[string]string{
		"empty":       "",
		"only notes":  "# ${NOT_EXPANDED_IN_A_COMMENT}\n",
		"empty key":   "segment:\npoints: {every: }\n",
		"empty maps":  "segment: {}\nkafka: {}\n",
		"some values": "version: 1\nlog: {level: info}\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := config.Load(write(t, text))
			if err != nil {
				t.Fatal(err)
			}
			if want := config.Default(); !reflect.DeepEqual(c, want) {
				t.Errorf("got %+v\nwant %+v", c, want)
			}
			if err := c.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a variable holds is one value, whatever is in it.
func TestLoadDoesNotParseVariables(t *testing.T) {
	const value = "x}\nlog: {level: debug}  # {"
	t.Setenv("OFFSITE_TEST_VALUE", value)
	c, err := config.Load(write(t, "kafka: {clientId: '${OFFSITE_TEST_VALUE}'}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Kafka.ClientID != value || c.Log.Level != "info" {
		t.Errorf("client id %q, log level %q", c.Kafka.ClientID, c.Log.Level)
	}
}

func TestLoadErrors(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"misspelt key", "kafka:\n  bootstrapServer: [a:1]\n", []string{`line 2: unknown key "kafka.bootstrapServer"; did you mean "bootstrapServers"?`}},
		{"swapped letters", "store:\n  ulr: /x\n", []string{`line 2: unknown key "store.ulr"; did you mean "url"?`}},
		{"case", "Kafka: {}\n", []string{`line 1: unknown key "Kafka"; did you mean "kafka"?`}},
		{"foreign key", "\nretentionPolicy: 5\n", []string{`line 2: unknown key "retentionPolicy"; known here: version, kafka, store, `}},
		{"password", "kafka:\n  sasl:\n    username: a\n    mechanism: PLAIN\n    password: hunter2\n", []string{`line 5: unknown key "kafka.sasl.password"`, "passwordFile", "KAFKA_SASL_PASSWORD"}},
		{"key twice", "store: {url: x}\nstore: {url: y}\n", []string{"line 2: store: is there already, in line 1"}},
		{"text for a mapping", "kafka: hunter2\n", []string{"line 1: kafka: want a mapping (of bootstrapServers, clientId, tls, sasl)"}},
		{"list for a mapping", "kafka: [1]\n", []string{"line 1: kafka: want a mapping"}},
		{"mapping for a list", "select: {topics: {include: {a: b}}}\n", []string{"line 1: select.topics.include: want a list"}},
		{"list for a value", "store:\n  url: [a]\n", []string{"line 2: store.url: want a single value"}},
		{"list in a list", "select:\n  topics:\n    include:\n      - [a]\n", []string{"line 4: select.topics.include: want a single value"}},
		{"word for a number", "version: two\n", []string{`line 1: version: "two" is not a number`}},
		{"size without unit", "segment: {maxBytes: 64}\n", []string{`segment.maxBytes: "64" is not a size with a unit, such as 64MiB`}},
		{"size of another unit", "segment: {maxBytes: 64parsecs}\n", []string{`"64parsecs" is not a size`}},
		{"size beyond all bounds", "segment: {maxBytes: 99EB}\n", []string{`"99EB" is not a size`}},
		{"share without a sign", "verify: {sample: 5}\n", []string{`verify.sample: "5" is not a share between 0.0001% and 100%, such as 5%`}},
		{"share of nothing", "verify: {sample: 0%}\n", []string{`verify.sample: "0%" is not a share`}},
		{"share that is no number", "verify: {sample: NaN%}\n", []string{`verify.sample: "NaN%" is not a share`}},
		{"duration without unit", "points: {every: 5}\n", []string{`points.every: "5" is not a duration with a unit, such as 10s`}},
		{"variable", "store:\n  url: ${OFFSITE_TEST_UNSET}\n", []string{"line 2: store.url: environment variable OFFSITE_TEST_UNSET is not set", "${OFFSITE_TEST_UNSET:-…}"}},
		{"no YAML", "kafka: [1,\n", []string{"line "}},
		{"tab", "store:\n\turl: x\n", []string{"line 2"}},
		{"two documents", "version: 1\n---\nversion: 1\n", []string{"more than one YAML document"}},
		{"a list for the file", "- a\n", []string{"line 1: want a mapping (of version, kafka, "}},
		{"restore misspelt", "restore:\n  untilTimestmap: 5\n", []string{`line 2: unknown key "restore.untilTimestmap"; did you mean "untilTimestamp"?`}},
		{"override misspelt", "restore:\n  overrides:\n    - topics: a\n    - topics: b\n      att: 5\n", []string{`line 5: unknown key "restore.overrides[1].att"; did you mean "at"?`}},
		{"override for nothing", "restore:\n  overrides:\n    - topics: a\n    - at: 5\n", []string{`line 4: restore.overrides[1]: topics is missing`}},
		{"one override for a list", "restore:\n  overrides: {topics: a}\n", []string{`line 2: restore.overrides: want a list`}},
		{"text for an override", "restore:\n  overrides: [a]\n", []string{`line 2: restore.overrides[0]: want a mapping (of topics, at, `}},
		{"bad pattern", "restore:\n  topics: '/[/'\n", []string{`line 2: restore.topics: pattern "/[/"`}},
		{"bad pattern of an override", "restore:\n  overrides:\n    - topics: [a, '/[/']\n", []string{`line 3: restore.overrides[0].topics: pattern "/[/"`}},
		{"commas in a pattern", "restore:\n  topics: 'a,b'\n", []string{`line 2: restore.topics: "a,b" cannot be the name of a topic`}},
		{"rename to nothing", "restore:\n  rename: {a: }\n", []string{`line 2: restore.rename: want OLD: NEW`}},
		{"list of renames", "restore:\n  rename: [a=b]\n", []string{`line 2: restore.rename: want a mapping`}},
		{"rename twice", "restore:\n  rename:\n    a: b\n    a: c\n", []string{`line 4: restore.rename.a: is there already, in line 3`}},
		{"list for a config", "restore:\n  overrides:\n    - topics: a\n      configs: {retention.ms: [1]}\n", []string{`line 4: restore.overrides[0].configs.retention.ms: want a single value`}},
		{"what to do", "restore:\n  ifExists: overwrite\n", []string{`line 2: restore.ifExists: "overwrite" is none of refuse, append`}},
		{"yes", "restore:\n  acceptGap: yes\n", []string{`line 2: restore.acceptGap: "yes" is neither true nor false`}},
		{"negative time", "restore:\n  holdRetention: -2h\n", []string{`line 2: restore.holdRetention: -2h0m0s: cannot be negative`}},
		{"too many replicas", "restore:\n  overrides:\n    - topics: a\n      replicationFactor: 70000\n", []string{`line 4: restore.overrides[0].replicationFactor: must be between 1 and 32767`}},
		{"options of a replica", "replicas:\n  - url: s3://elsewhere/prod\n    s3:\n      sse: AES256\n    maxUpload: 1KiB\n", []string{`line 4: replicas[0].s3.sse: "AES256" is none of s3, kms`, `line 5: replicas[0].maxUpload: must be 64KiB`}},
		{"two replicas in one place", "replicas:\n  - url: s3://elsewhere/prod\n  - url: s3://elsewhere/prod/\n", []string{`replicas[1].url: s3://elsewhere/prod is another replica`}},
		{"replicas, each with a mistake", "replicas:\n  - every: 1s\n  - url: s3:/x\n  - url: s3://there/prod\n    maxUpload: 1KiB\n", []string{
			`replicas[0].url: is missing`, `line 3: replicas[1].url: store URL s3:/x: want s3://bucket/prefix`, `line 5: replicas[2].maxUpload: must be`,
		}},
		{"all at once", "colour: blue\nversion: 2\nsegment: {maxAge: 1}\nlog: {level: loud}\nstore: {url: '${OFFSITE_TEST_UNSET}'}\n", []string{
			`line 1: unknown key "colour"`, "line 3: segment.maxAge", "line 5: store.url", "version: is 2, this program knows 1", `log.level: "loud"`,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, test.text)
			_, err := config.Load(path)
			checkError(t, err, append(test.want, path))
		})
	}
}

// checkError wants an error of the configuration, with a line for each mistake, that
// has all the words, and neither Go's words nor a value that might be a secret.
func checkError(t *testing.T, err error, want []string) {
	t.Helper()
	if !errors.Is(err, config.ErrInvalid) {
		t.Fatalf("error is %v, want one that is ErrInvalid", err)
	}
	for _, word := range want {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in %q", word, err)
		}
	}
	for line := range strings.Lines(err.Error()) {
		if !strings.HasPrefix(line, config.ErrInvalid.Error()+": ") {
			t.Errorf("the line %q does not say what it is about", line)
		}
	}
	for _, word := range []string{"config.", "!!", "hunter2", "struct", "%!"} {
		if strings.Contains(err.Error(), word) {
			t.Errorf("%q is in %q", word, err)
		}
	}
}

func TestLoadNamesAMissingFile(t *testing.T) {
	_, err := config.Load("/nowhere/backupd.yaml")
	checkError(t, err, []string{"/nowhere/backupd.yaml", "no such file"})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v is not ErrNotExist", err)
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*config.Config)
		want   string
	}{
		{"version", func(c *config.Config) { c.Version = 2 }, "version: is 2, this program knows 1"},
		{"segment too small", func(c *config.Config) { c.Segment.MaxBytes = 1<<20 - 1 }, "segment.maxBytes: must be between 1MiB and 4GiB"},
		{"segment too large", func(c *config.Config) { c.Segment.MaxBytes = 4<<30 + 1 }, "segment.maxBytes"},
		{"segment too young", func(c *config.Config) { c.Segment.MaxAge = config.Duration(time.Second - 1) }, "segment.maxAge: must be between 1s and 1h"},
		{"segment too old", func(c *config.Config) { c.Segment.MaxAge = config.Duration(time.Hour + 1) }, "segment.maxAge"},
		{"points too often", func(c *config.Config) { c.Points.Every = 0 }, "points.every: must be between 1s and 24h"},
		{"admin listener for all", func(c *config.Config) { c.Admin.Listen = ":8081" }, `admin.listen: ":8081" is not on loopback`},
		{"admin listener for others", func(c *config.Config) { c.Admin.Listen = "192.0.2.1:8081" }, "admin.listen"},
		{"http listener without a port", func(c *config.Config) { c.HTTP.Listen = "127.0.0.1" }, "http.listen: \"127.0.0.1\" is not HOST:PORT"},
		{"http listener where the other is", func(c *config.Config) { c.HTTP.Listen, c.Admin.Listen = "127.0.0.1:1", "127.0.0.1:1" }, "http.listen: 127.0.0.1:1 is admin.listen"},
		{"admin listener without a port", func(c *config.Config) { c.Admin.Listen = "127.0.0.1" }, "admin.listen: \"127.0.0.1\" is not HOST:PORT"},
		{"snapshots too often", func(c *config.Config) { c.Snapshots.Every = 9 }, "snapshots.every: must be between 10 and 100000 log entries, or 0 for never"},
		{"snapshots too seldom", func(c *config.Config) { c.Snapshots.Every = 100_001 }, "snapshots.every: must be"},
		{"a negative number of snapshots", func(c *config.Config) { c.Snapshots.Every = -1 }, "snapshots.every: must be"},
		{"merge too often", func(c *config.Config) { c.Merge.Every = 1 }, "merge.every: must be between 1s and 168h, or 0s for never"},
		{"merge before it is there", func(c *config.Config) { c.Merge.MinAge = -1 }, "merge.minAge: must be between 0s and 720h"},
		{"merge into small segments", func(c *config.Config) { c.Merge.TargetBytes = 1 }, "merge.targetBytes: must be between 16MiB and 4GiB"},
		{"merge slowly", func(c *config.Config) { c.Merge.MaxBandwidth = 1 }, "merge.maxBandwidth: must be at least 1MiB a second"},
		{"metadata too often", func(c *config.Config) { c.Metadata.Every = 0 }, "metadata.every: must be between 1s and 24h"},
		{"points too seldom", func(c *config.Config) { c.Points.Every = config.Duration(25 * time.Hour) }, "points.every"},
		{"upload too slow", func(c *config.Config) { c.Store.MaxUpload = 1000 }, "store.maxUpload: must be 64KiB (per second) or more"},
		{"download too slow", func(c *config.Config) { c.Store.MaxDownload = 1 }, "store.maxDownload: must be 64KiB"},
		{"endpoint", func(c *config.Config) { c.Store.S3.Endpoint = "https://user:hunter2@host" }, "store.s3.endpoint: is not a URL such as https://"},
		{"addressing", func(c *config.Config) { c.Store.S3.Addressing = "host" }, `store.s3.addressing: "host" is none of auto, path, virtual`},
		{"checksum", func(c *config.Config) { c.Store.S3.Checksum = "off" }, `store.s3.checksum: "off" is none of auto, md5, crc32c`},
		{"archive of S3", func(c *config.Config) { c.Store.S3.StorageClass = "DEEP_ARCHIVE" }, "store.s3.storageClass: objects in DEEP_ARCHIVE cannot be read"},
		{"no class of S3", func(c *config.Config) { c.Store.S3.StorageClass = "standard ia" }, "store.s3.storageClass"},
		{"encryption", func(c *config.Config) { c.Store.S3.SSE = "AES256" }, `store.s3.sse: "AES256" is none of s3, kms`},
		{"key without KMS", func(c *config.Config) { c.Store.S3.SSE, c.Store.S3.KMSKeyID = "s3", "k" }, "store.s3.kmsKeyId: is for sse: kms only"},
		{"lock mode", func(c *config.Config) { c.Store.S3.ObjectLock = config.ObjectLock{Mode: "GOVERN", Days: 1} }, "store.s3.objectLock.mode"},
		{"lock without mode", func(c *config.Config) { c.Store.S3.ObjectLock.Days = 1 }, "store.s3.objectLock.mode: is missing"},
		{"lock without days", func(c *config.Config) { c.Store.S3.ObjectLock.Mode = "compliance" }, "store.s3.objectLock.days: must be between 1 and 36500"},
		{"class of GCS", func(c *config.Config) { c.Store.GCS.StorageClass = "COLD" }, `store.gcs.storageClass: "COLD" is none of`},
		{"key of GCS", func(c *config.Config) { c.Store.GCS.KMSKey = "k" }, "store.gcs.kmsKey"},
		{"archive of Azure", func(c *config.Config) { c.Store.Azure.AccessTier = "Archive" }, "store.azure.accessTier: blobs in Archive cannot be read"},
		{"tier of Azure", func(c *config.Config) { c.Store.Azure.AccessTier = "hot" }, "store.azure.accessTier"},
		{"verified too often", func(c *config.Config) { c.Verify.Every = config.Duration(time.Second) }, "verify.every: must be between 1m and 8760h, or 0s for never"},
		{"verified never", func(c *config.Config) { c.Verify.Every = -1 }, "verify.every"},
		{"level of verification", func(c *config.Config) { c.Verify.Level = "deep" }, `verify.level: "deep" is none of index, digest, decode`},
		{"replay without a cluster", func(c *config.Config) { c.Verify.Level = "replay" }, "verify.level: replay takes a cluster"},
		{"groups", func(c *config.Config) { c.Groups.Capture = "never" }, `groups.capture: "never" is none of auto, log, poll`},
		{"level", func(c *config.Config) { c.Log.Level = "loud" }, `log.level: "loud" is none of debug, info, warn, error`},
		{"format", func(c *config.Config) { c.Log.Format = "xml" }, `log.format: "xml" is none of auto, text, json`},
		{"user", func(c *config.Config) { c.Kafka.SASL = &config.SASL{Mechanism: "PLAIN"} }, "kafka.sasl.username: is missing"},
		{"mechanism", func(c *config.Config) { c.Kafka.SASL = &config.SASL{Mechanism: "GSSAPI", Username: "x"} }, `kafka.sasl.mechanism: "GSSAPI": want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512`},
		{"certificate without key", func(c *config.Config) { c.Kafka.TLS = &config.TLS{CertFile: "c"} }, "kafka.tls: certFile and keyFile belong together"},
		{"key without certificate", func(c *config.Config) { c.Kafka.TLS = &config.TLS{KeyFile: "k"} }, "kafka.tls"},
		{"regular expression", func(c *config.Config) { c.Select.Topics.Include = []string{"/(/"} }, "select.topics: pattern \"/(/\": error parsing regexp: missing closing ): `(`"},
		{"glob", func(c *config.Config) { c.Select.Topics.Exclude = []string{"["} }, `select.topics: pattern "![": `},
		{"empty pattern", func(c *config.Config) { c.Select.Topics.Include = []string{""} }, `pattern "": is empty`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := config.Default()
			test.change(c)
			checkError(t, c.Validate(), []string{test.want})
		})
	}
}

func TestServers(t *testing.T) {
	for address, good := range map[string]bool{
		"a:9092": true, "a": true, "10.0.0.1:1": true, "[::1]:9092": true, "a.b-c:65535": true,
		"": false, ":9092": false, "a:": false, "a:0": false, "a:65536": false, "a:b": false, "::1": false,
		"http://a:80": false, "a:1:2": false, "a/b": false, "a:1,b:2": false,
	} {
		c := config.Default()
		c.Kafka.BootstrapServers = config.Servers{address}
		if err := c.Validate(); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		} else if !good {
			checkError(t, err, []string{"kafka.bootstrapServers", "is not HOST:PORT"})
		}
	}
}

func TestSet(t *testing.T) {
	c := config.Default()
	for _, assignment := range []string{
		"kafka.tls.caFile=ca.pem", "kafka.bootstrapServers=a:1,b:2", "select.topics.include=[x, y]", "segment.maxAge=5s", "store.url=", "kafka.clientId=a=b",
	} {
		if err := c.Set(assignment); err != nil {
			t.Errorf("%s: %v", assignment, err)
		}
	}
	if c.Kafka.TLS == nil || c.Kafka.TLS.CAFile != "ca.pem" || !slices.Equal(c.Kafka.BootstrapServers, config.Servers{"a:1", "b:2"}) ||
		!slices.Equal(c.Select.Topics.Include, []string{"x", "y"}) || time.Duration(c.Segment.MaxAge) != 5*time.Second || c.Kafka.ClientID != "a=b" {
		t.Errorf("got %+v", c)
	}
	if !slices.Equal(c.Select.Topics.Exclude, []string{"__*"}) || c.Segment.MaxBytes != config.Default().Segment.MaxBytes {
		t.Errorf("a neighbour was changed: %+v", c)
	}
}

func TestSetErrors(t *testing.T) {
	for assignment, want := range map[string]string{
		"segment.maxAge":       `"segment.maxAge" is not KEY=VALUE`,
		"segment.maxAge=5":     `segment.maxAge: "5" is not a duration`,
		"kafka.tls.caFil=x":    `unknown key "kafka.tls.caFil"; did you mean "caFile"?`,
		"a.b=c":                `unknown key "a"; known here: version`,
		"=x":                   `unknown key ""`,
		"kafka=hunter2":        "kafka: want a mapping",
		"store.url=${OFFSITE}": "store.url: environment variable OFFSITE is not set",
		"store.url=[":          "the value of store.url",
		"store.url.x=y":        "store.url: want a single value",
	} {
		checkError(t, config.Default().Set(assignment), []string{want})
	}
}

func TestPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(file, []byte("hunter2\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(s *config.SASL) (string, error) { return (&config.Kafka{SASL: s}).Client().SASL.Password() }
	if got, err := ask(&config.SASL{PasswordFile: file}); got != "hunter2" || err != nil {
		t.Errorf("from a file: %q, %v", got, err)
	}
	_, err := ask(&config.SASL{PasswordFile: "/nowhere/pw"})
	checkError(t, err, []string{"kafka.sasl.passwordFile", "/nowhere/pw"})
	_, err = ask(&config.SASL{})
	checkError(t, err, []string{"no password for kafka.sasl", config.PasswordVariable})
	t.Setenv(config.PasswordVariable, "hunter3")
	if got, err := ask(&config.SASL{}); got != "hunter3" || err != nil {
		t.Errorf("from the environment: %q, %v", got, err)
	}
}

// A repository is where the file says it is, whatever directory a program
// happens to run in.
func TestLoadResolvesTheStore(t *testing.T) {
	for url, want := range map[string]string{
		"repo":            "DIR/repo",
		"./a:b":           "DIR/a:b",
		"../repo":         "UP/repo",
		"/srv/repo":       "/srv/repo",
		"file:///repo":    "file:///repo",
		"s3://bucket/pre": "s3://bucket/pre",
		"s3:repo":         "s3:repo", // which is refused elsewhere
		"''":              "",
	} {
		path := write(t, "store: {url: "+url+"}\n")
		c, err := config.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(path)
		want = strings.NewReplacer("DIR", dir, "UP", filepath.Dir(dir)).Replace(want)
		if c.Store.URL != want {
			t.Errorf("store.url %s: got %s, want %s", url, c.Store.URL, want)
		}
	}
}

// A name that no topic can have is a mistake, and no question for a cluster.
func TestTopicsThatCannotBe(t *testing.T) {
	for text, want := range map[string]string{
		"a b":                    `"a b" cannot be the name of a topic`,
		"orders;payments":        `"orders;payments" cannot be`,
		"..":                     `".." cannot be`,
		strings.Repeat("x", 250): "xxx\" cannot be",
	} {
		c := config.Default()
		c.Select.Topics.Include = []string{"orders-*", text}
		if err := c.Validate(); !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	c := config.Default()
	c.Select.Topics.Include = []string{"Orders.v1_eu-west", "/a b/", "a b*"}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

// Files that are missing or hold something else are a mistake in the
// configuration, which names key and file.
func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	text, gone := filepath.Join(dir, "text"), filepath.Join(dir, "gone")
	if err := os.WriteFile(text, []byte("no certificate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(config.PasswordVariable, "")
	for _, test := range []struct {
		name  string
		kafka config.Kafka
		want  []string
	}{
		{"no ca", config.Kafka{TLS: &config.TLS{CAFile: gone}}, []string{"kafka.tls.caFile", gone, "no such file"}},
		{"ca without pem", config.Kafka{TLS: &config.TLS{CAFile: text}}, []string{"kafka.tls.caFile", text, "no PEM certificate"}},
		{"no certificate", config.Kafka{TLS: &config.TLS{CertFile: gone, KeyFile: text}}, []string{"kafka.tls.certFile", gone}},
		{"no key", config.Kafka{TLS: &config.TLS{CertFile: text, KeyFile: gone}}, []string{"kafka.tls.keyFile", gone}},
		{"neither", config.Kafka{TLS: &config.TLS{CertFile: text, KeyFile: text}}, []string{"kafka.tls", text, "PEM"}},
		{"no password", config.Kafka{SASL: &config.SASL{}}, []string{"no password", "kafka.sasl.passwordFile", config.PasswordVariable}},
		{"no password file", config.Kafka{SASL: &config.SASL{PasswordFile: gone}}, []string{"kafka.sasl.passwordFile", gone}},
		{"empty password", config.Kafka{SASL: &config.SASL{PasswordFile: empty}}, []string{"kafka.sasl.passwordFile", empty, "empty"}},
	} {
		err := test.kafka.CheckFiles()
		if !errors.Is(err, config.ErrInvalid) {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", test.name, err, want)
			}
		}
	}
	if err := (&config.Kafka{}).CheckFiles(); err != nil {
		t.Error(err)
	}
}

// A value that Validate refuses is found in the file as a wrong key is.
func TestLoadSaysWhereValuesAreWrong(t *testing.T) {
	for text, want := range map[string]string{
		"\nversion: 2\n":                    "line 2: version: is 2, this program knows 1",
		"log:\n  level: loud\n":             `line 2: log.level: "loud" is none of`,
		"kafka:\n  sasl:\n    username: \n": "line 2: kafka.sasl.mechanism",
		"kafka:\n  tls: {certFile: a}\n":    "line 2: kafka.tls: certFile and keyFile",
	} {
		path := write(t, text)
		_, err := config.Load(path)
		checkError(t, err, []string{path + ": ", want})
	}
}
