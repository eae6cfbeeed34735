// Package s3 keeps objects in a bucket of Amazon S3 or of a server that speaks
// its protocol. The server must honour If-None-Match on PutObject and on
// CompleteMultipartUpload, and list consistently and in order, which excludes
// S3 directory buckets.
//
// The identity needs s3:ListBucket on the bucket, without which S3 answers 403
// where an object is absent, and on the objects s3:GetObject, s3:PutObject and
// s3:AbortMultipartUpload, and for Delete s3:DeleteObject. A lifecycle rule
// should end incomplete multipart uploads, which a killed process leaves behind.
package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/remote"
)

// Store is a bucket, or the part of it under a prefix.
type Store struct {
	client *s3.Client
	bucket string
	prefix string    // empty, or ends in a slash
	parts  sync.Pool // *[]byte of capacity partSize

	reached  atomic.Bool // there was an answer, whatever it said
	wantsMD5 atomic.Bool // the bucket takes content with an MD5 only
	window   *remote.Window

	terms    terms // of each object that is put
	checksum Checksum
	sorting  store.Sorting
}

// Open prepares access to the objects under prefix in bucket. It reads the
// environment and configuration files for credentials (the default chain of the
// AWS SDK), but does not ask the server anything, not even if there is a bucket.
func Open(ctx context.Context, bucket, prefix string, opts Options) (*Store, error) {
	if bucket == "" || strings.ContainsAny(bucket, "/\\ ") {
		return nil, fmt.Errorf("open s3 bucket %q: no name of a bucket: %w", bucket, store.ErrInvalid)
	}
	prefix, err := remote.CleanPrefix(prefix)
	if err != nil {
		return nil, fmt.Errorf("open s3 bucket %s: %w", bucket, err)
	}
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("open s3 bucket %s: %w", bucket, err)
	}
	s := &Store{bucket: bucket, prefix: prefix, window: remote.NewWindow(), terms: opts.terms(), checksum: opts.Checksum, sorting: opts.Sorting}
	// S3 takes what is to be locked with a checksum only.
	s.wantsMD5.Store(opts.Checksum == MD5 || opts.Checksum == Auto && opts.Lock.Mode != "")
	if s.client, err = s.newClient(ctx, opts); err != nil {
		return nil, fmt.Errorf("open s3 bucket %s: %w", bucket, err)
	}
	s.parts.New = func() any {
		buf := make([]byte, 0, partSize)
		return &buf
	}
	return s, nil
}

func (s *Store) newClient(ctx context.Context, opts Options) (*s3.Client, error) {
	// The SDK's own timeout of reads also ends requests that are still being sent.
	transport := awshttp.NewBuildableClient().WithReadTimeout(0).
		WithTransportOptions(func(t *http.Transport) { t.DialContext, t.IdleConnTimeout = remote.Dial, remote.Idle })
	more := func(o *config.LoadOptions) error {
		o.SharedConfigProfile = opts.Profile
		if len(opts.Authorities) > 0 {
			o.CustomCABundle = bytes.NewReader(opts.Authorities)
		}
		return nil
	}
	cfg, err := config.LoadDefaultConfig(ctx, more,
		config.WithHTTPClient(transport),
		config.WithRetryMaxAttempts(attempts), // whatever the environment says
		// By default the SDK adds CRC32 trailers to uploads and wants checksums
		// in answers, which many compatible servers refuse or lack. Content is
		// protected by our own digests, and on its way by TLS or, without it, by
		// the SHA-256 in the signature of the request, which the server compares.
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
	)
	if missing := (config.SharedConfigProfileNotExistError{}); opts.Profile != "" && errors.As(err, &missing) {
		err = fmt.Errorf("s3.profile: %w", err)
	}
	if err != nil {
		return nil, err
	}
	if opts.Region != "" {
		cfg.Region = opts.Region
	}
	cfg.Credentials = credentials{cfg.Credentials}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		if opts.Endpoint != "" {
			o.BaseEndpoint = aws.String(opts.Endpoint)
		}
		// Few own servers have a DNS name for each bucket.
		o.UsePathStyle = opts.Addressing == Path || opts.Addressing == "" && o.BaseEndpoint != nil
		if o.Region == "" && o.BaseEndpoint != nil {
			o.Region = "us-east-1"
		}
		o.Retryer = newRetryer(&s.reached)
		o.APIOptions = append(o.APIOptions, s.addAttemptWatch)
	})
	if client.Options().Region == "" {
		return nil, errors.New("no region: set AWS_REGION")
	}
	return client, checkEndpoint(client.Options().BaseEndpoint)
}

// checkEndpoint looks at an endpoint wherever it comes from. It may have a password in
// it, and is not shown.
func checkEndpoint(endpoint *string) error {
	if endpoint == nil {
		return nil
	}
	if u, err := url.Parse(*endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("the endpoint is not a URL such as https://s3.example.net:9000: check store.s3.endpoint, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL and the endpoint_url of the profile")
	}
	return nil
}

var errNoCredentials = store.ErrNoCredentials

// credentials marks failure to get any as ErrAuth.
type credentials struct{ aws.CredentialsProvider }

func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	creds, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w: %w", store.ErrAuth, errNoCredentials, err)
	}
	return creds, err
}

// name returns the name in the bucket of the object under key.
func (s *Store) name(key string) *string { return aws.String(s.prefix + key) }
