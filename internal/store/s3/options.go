package s3

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/offsite-kafka/offsite/internal/store"
)

// Options say where a bucket is, where the environment (AWS_REGION,
// AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL) and the shared AWS configuration do not,
// and how objects are put there.
type Options struct {
	// Profile is one of the shared AWS configuration, whose credentials count more
	// than those of the environment; if it is empty, the environment says which.
	Profile string
	// Authorities are those, in PEM, that the server's certificate may be from, in the
	// place of those of the environment and the system.
	Authorities []byte
	// Region of the bucket. With an endpoint of one's own it is us-east-1 unless
	// set here or there.
	Region string
	// Endpoint is the URL of a server other than Amazon's.
	Endpoint string
	// Addressing is how requests name the bucket.
	Addressing Addressing
	// Checksum is what content is sent with.
	Checksum Checksum
	// Class is the storage class of what Sorting calls bulk; if it is empty, the
	// server chooses. What is bulk must be readable in it at once.
	Class string
	// Encryption is how the server encrypts objects, where it is not to be what the
	// bucket says.
	Encryption Encryption
	// KMSKey is the key of KMS, by its id, ARN or alias; if it is empty, it is that
	// of the account.
	KMSKey string
	// Lock is how each object is locked, Mode being GOVERNANCE or COMPLIANCE, except
	// what Sorting calls passing; if Mode is empty, they are as the bucket says.
	Lock store.Lock

	Sorting store.Sorting
}

// Addressing is how requests name the bucket.
type Addressing string

// The ways to name it. If none is given, it is in the path where there is an
// endpoint of one's own, else in the host.
const (
	Path    Addressing = "path"    // https://host/bucket/key
	Virtual Addressing = "virtual" // https://bucket.host/key
)

// Encryption is how the server encrypts objects.
type Encryption string

// The ways to encrypt.
const (
	SSES3  Encryption = "AES256"  // by keys of S3
	SSEKMS Encryption = "aws:kms" // by a key in KMS
)

func (o *Options) check() error {
	switch {
	case IsOffline(o.Class):
		return fmt.Errorf("objects in %s cannot be read without being brought back: %w", o.Class, store.ErrInvalid)
	case o.Lock.Mode != "" && o.Lock.For <= 0:
		return fmt.Errorf("a lock without a time: %w", store.ErrInvalid)
	}
	return nil
}

// IsOffline tells whether objects of a storage class have to be brought back before
// they can be read.
func IsOffline(class string) bool {
	return class == string(types.StorageClassGlacier) || class == string(types.StorageClassDeepArchive)
}

// terms are what an object is put with besides its content.
type terms struct {
	class      types.StorageClass // of bulk
	encryption types.ServerSideEncryption
	kmsKey     *string
	lock       store.Lock
	until      *time.Time // of the lock
}

func (o *Options) terms() terms {
	t := terms{class: types.StorageClass(o.Class), encryption: types.ServerSideEncryption(o.Encryption), lock: o.Lock}
	if o.KMSKey != "" {
		t.kmsKey = &o.KMSKey
	}
	return t
}

// termsFor returns what the object under key is put with now.
func (s *Store) termsFor(key string, now time.Time) terms {
	t := s.terms
	if !s.sorting.IsBulk(key) {
		t.class = ""
	}
	if s.sorting.IsPassing(key) {
		t.lock = store.Lock{}
	}
	return t.lockedFrom(now)
}

func (t terms) lockedFrom(now time.Time) terms {
	if t.lock.Mode != "" {
		t.until = aws.Time(now.Add(t.lock.For).UTC())
	}
	return t
}

func (t terms) ofPut(in *s3.PutObjectInput) {
	in.StorageClass, in.ServerSideEncryption, in.SSEKMSKeyId = t.class, t.encryption, t.kmsKey
	in.ObjectLockMode, in.ObjectLockRetainUntilDate = types.ObjectLockMode(t.lock.Mode), t.until
}

func (t terms) ofUpload(in *s3.CreateMultipartUploadInput) {
	in.StorageClass, in.ServerSideEncryption, in.SSEKMSKeyId = t.class, t.encryption, t.kmsKey
	in.ObjectLockMode, in.ObjectLockRetainUntilDate = types.ObjectLockMode(t.lock.Mode), t.until
}

// refusals are what servers say to terms that they do not know or have.
var refusals = map[string]bool{
	"InvalidRequest": true, "InvalidArgument": true, "InvalidStorageClass": true, "InvalidEncryptionAlgorithmError": true,
	"InvalidBucketObjectLockConfiguration": true, "ObjectLockConfigurationNotFoundError": true,
	"ServerSideEncryptionConfigurationNotFoundError": true,
}

// isRefusalOfTerms tells whether the server does not do what was asked, as long as
// it is asked like this.
func isRefusalOfTerms(err error) bool {
	code := codeOf(err)
	return refusals[code] || strings.HasPrefix(code, "KMS.") || statusOf(err) == http.StatusNotImplemented
}

// explain makes such a refusal, of which the terms are the likely cause, an
// ErrInvalid that names them.
func (t terms) explain(err error) error {
	if asked := t.String(); asked != "" && isRefusalOfTerms(err) {
		return fmt.Errorf("the server does not take objects with %s: %w (%v)", asked, store.ErrInvalid, err)
	}
	return err
}

// String says what is asked for.
func (t terms) String() string {
	var asked []string
	if t.class != "" {
		asked = append(asked, "storage class "+string(t.class))
	}
	if t.encryption != "" {
		asked = append(asked, "server-side encryption "+string(t.encryption))
	}
	if t.kmsKey != nil {
		asked = append(asked, "KMS key "+*t.kmsKey)
	}
	if t.lock.Mode != "" {
		asked = append(asked, "Object Lock "+t.lock.Mode)
	}
	return strings.Join(asked, ", ")
}
