package config

import (
	"net/url"
	"regexp"
	"slices"
)

// Store is where the repository is, and how objects are put and read there.
type Store struct {
	URL string `yaml:"url"`
	// UnsafeNoFence lets backupd work on a store that does not honour
	// create-if-absent, where nothing keeps a second one from destroying all.
	UnsafeNoFence bool  `yaml:"unsafeNoFence"`
	MaxUpload     Rate  `yaml:"maxUpload"`
	MaxDownload   Rate  `yaml:"maxDownload"`
	S3            S3    `yaml:"s3"`
	GCS           GCS   `yaml:"gcs"`
	Azure         Azure `yaml:"azure"`
}

// S3 is for s3:// only. Credentials come from the environment, or the shared files
// of the SDK.
type S3 struct {
	Profile      string     `yaml:"profile"` // of the shared files; it counts more than the environment
	CAFile       string     `yaml:"caFile"`
	Region       string     `yaml:"region"`
	Endpoint     string     `yaml:"endpoint"`
	Addressing   string     `yaml:"addressing"` // auto or empty, path, virtual
	Checksum     string     `yaml:"checksum"`   // auto or empty, md5, crc32c
	StorageClass string     `yaml:"storageClass"`
	SSE          string     `yaml:"sse"` // s3, kms, or empty for what the bucket says
	KMSKeyID     string     `yaml:"kmsKeyId"`
	ObjectLock   ObjectLock `yaml:"objectLock"`
}

// ObjectLock is how each object is locked, if Mode is not empty.
type ObjectLock struct {
	Mode string `yaml:"mode"` // governance, compliance
	Days int    `yaml:"days"`
}

// GCS is for gs:// only.
type GCS struct {
	CredentialsFile string `yaml:"credentialsFile"` // it counts more than the environment
	StorageClass    string `yaml:"storageClass"`
	KMSKey          string `yaml:"kmsKey"`
}

// Azure is for az:// only.
type Azure struct {
	ConnectionStringFile string `yaml:"connectionStringFile"` // it counts more than the environment
	AccessTier           string `yaml:"accessTier"`
}

// slowest is the least that a limit may be: a transfer must end before the server
// loses its patience.
const slowest = 64 << 10

// maxLockDays is what S3 allows, 100 years.
const maxLockDays = 36500

var (
	s3Class = regexp.MustCompile(`\A[A-Z0-9_]+\z`)
	kmsName = regexp.MustCompile(`\Aprojects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+\z`)
)

// check tells what is wrong with values, of which section is the path.
func (s *Store) check(section string, report func(key, format string, args ...any)) {
	bad := func(key, format string, args ...any) { report(section+"."+key, format, args...) }
	if s.MaxUpload.slowerThan(slowest) {
		bad("maxUpload", "must be 64KiB (per second) or more, or none")
	}
	if s.MaxDownload.slowerThan(slowest) {
		bad("maxDownload", "must be 64KiB (per second) or more, or none")
	}
	s.S3.check(bad)
	if c := s.GCS.StorageClass; c != "" && !slices.Contains([]string{"STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"}, c) {
		bad("gcs.storageClass", "%q is none of STANDARD, NEARLINE, COLDLINE, ARCHIVE", c)
	}
	if k := s.GCS.KMSKey; k != "" && !kmsName.MatchString(k) {
		bad("gcs.kmsKey", "%q is not projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY", k)
	}
	switch s.Azure.AccessTier {
	case "", "Hot", "Cool", "Cold":
	case "Archive":
		bad("azure.accessTier", "blobs in Archive cannot be read without being brought back: take Hot, Cool or Cold")
	default:
		bad("azure.accessTier", "%q is none of Hot, Cool, Cold", s.Azure.AccessTier)
	}
}

func (s *S3) check(bad func(key, format string, args ...any)) {
	if u, err := url.Parse(s.Endpoint); s.Endpoint != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "") {
		bad("s3.endpoint", "is not a URL such as https://s3.example.net:9000, without credentials") // which it may have
	}
	switch s.Addressing {
	case "", "auto", "path", "virtual":
	default:
		bad("s3.addressing", "%q is none of auto, path, virtual", s.Addressing)
	}
	switch s.Checksum {
	case "", "auto", "md5", "crc32c":
	default:
		bad("s3.checksum", "%q is none of auto, md5, crc32c", s.Checksum)
	}
	switch {
	case s.StorageClass == "GLACIER" || s.StorageClass == "DEEP_ARCHIVE":
		bad("s3.storageClass", "objects in %s cannot be read without being brought back: take one such as STANDARD_IA or GLACIER_IR", s.StorageClass)
	case s.StorageClass != "" && !s3Class.MatchString(s.StorageClass):
		bad("s3.storageClass", "%q is not the name of a class, such as STANDARD_IA", s.StorageClass)
	}
	switch s.SSE {
	case "", "s3", "kms":
	default:
		bad("s3.sse", "%q is none of s3, kms", s.SSE)
	}
	if s.KMSKeyID != "" && s.SSE != "kms" {
		bad("s3.kmsKeyId", "is for sse: kms only")
	}
	s.ObjectLock.check(bad)
}

func (l *ObjectLock) check(bad func(key, format string, args ...any)) {
	switch l.Mode {
	case "", "governance", "compliance":
	default:
		bad("s3.objectLock.mode", "%q is none of governance, compliance", l.Mode)
	}
	switch {
	case l.Mode == "" && l.Days != 0:
		bad("s3.objectLock.mode", "is missing: governance or compliance")
	case l.Mode != "" && (l.Days < 1 || l.Days > maxLockDays):
		bad("s3.objectLock.days", "must be between 1 and %d", maxLockDays)
	}
}

// storeFiles are the names of files that a store needs.
func storeFiles(s3 *S3, gcs *GCS, azure *Azure) []*string {
	return []*string{&s3.CAFile, &gcs.CredentialsFile, &azure.ConnectionStringFile}
}

// Resolve makes the path of a directory relative to dir, if it is relative. What
// has a scheme is left alone.
func (s *Store) Resolve(dir string) { s.URL = ResolveURL(s.URL, dir) }
