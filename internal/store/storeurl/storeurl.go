// Package storeurl opens object stores by the URLs that users write.
package storeurl

import (
	"context"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/azblob"
	"github.com/offsite-kafka/offsite/internal/store/dir"
	"github.com/offsite-kafka/offsite/internal/store/gcs"
	"github.com/offsite-kafka/offsite/internal/store/s3"
)

// Options are those of each kind of store; those of other kinds than the URL's do
// not count.
type Options struct {
	S3    s3.Options
	GCS   gcs.Options
	Azure azblob.Options
}

// Open returns the store at a URL, as store.ParseLocation reads it. It contacts nothing and
// creates nothing. Credentials, and what is in no option, come from the environment and
// configuration of the provider's SDK, never from the URL, which ends up in logs;
// for the same reason errors show no URL that has a password in it.
func Open(ctx context.Context, rawURL string, opts Options) (store.Store, error) {
	l, err := store.ParseLocation(rawURL)
	if err != nil {
		return nil, err
	}
	st, err := open(ctx, &l, opts)
	switch {
	case err == nil:
		return st, nil
	case l.Scheme == "":
		return nil, err
	}
	return nil, fmt.Errorf("store URL %s: %w", rawURL, err)
}

func open(ctx context.Context, l *store.Location, opts Options) (store.Store, error) {
	switch l.Scheme {
	case "s3":
		return s3.Open(ctx, l.Bucket, l.Prefix, opts.S3)
	case "gs":
		return gcs.Open(l.Bucket, l.Prefix, opts.GCS)
	case "az":
		return azblob.Open(l.Bucket, l.Container, l.Prefix, opts.Azure)
	}
	return dir.Open(l.Path)
}
