package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/azblob"
	"github.com/offsite-kafka/offsite/internal/store/gcs"
	"github.com/offsite-kafka/offsite/internal/store/limited"
	"github.com/offsite-kafka/offsite/internal/store/metered"
	"github.com/offsite-kafka/offsite/internal/store/retrying"
	"github.com/offsite-kafka/offsite/internal/store/s3"
	"github.com/offsite-kafka/offsite/internal/store/storeurl"
	"github.com/offsite-kafka/offsite/internal/storecheck"
)

// Store opens the object store that the configuration names, with its limits. It
// repeats what fails for reasons that may pass.
func (g *Globals) Store(ctx context.Context) (store.Store, error) {
	st, err := g.PlainStore(ctx)
	if err != nil {
		return nil, err
	}
	if g.Meter != nil {
		st = metered.New(st, g.Meter)
	}
	c := &g.Config.Store
	st = limited.New(st, limited.Config{Upload: int64(c.MaxUpload), Download: int64(c.MaxDownload)})
	return retrying.New(st, retrying.Config{}, g.Log), nil
}

// PlainStore opens the same store without what repeats and limits its calls, with
// all that its provider can tell.
func (g *Globals) PlainStore(ctx context.Context) (store.Store, error) {
	if g.Config.Store.URL == "" {
		return nil, Usagef("which repository? give --repo URL, or store.url in the configuration")
	}
	st, err := storeurl.Open(ctx, g.Config.Store.URL, storeOptions(&g.Config.Store))
	if err != nil { // nothing has been contacted yet
		return nil, fmt.Errorf("%w: %w", config.ErrInvalid, err)
	}
	return st, nil
}

// storeOptions translates the configuration.
func storeOptions(c *config.Store) storeurl.Options {
	sorting := store.Sorting{
		Bulk:    func(key string) bool { return strings.HasPrefix(key, manifest.SegmentPrefix) },
		Passing: func(key string) bool { return strings.HasPrefix(key, storecheck.CanaryPrefix) },
	}
	return storeurl.Options{
		S3: s3.Options{
			Region: c.S3.Region, Endpoint: c.S3.Endpoint,
			Addressing: s3.Addressing(unlessAuto(c.S3.Addressing)), Checksum: s3.Checksum(unlessAuto(c.S3.Checksum)),
			Class: c.S3.StorageClass, Encryption: encryptions[c.S3.SSE], KMSKey: c.S3.KMSKeyID,
			Lock:    store.Lock{Mode: strings.ToUpper(c.S3.ObjectLock.Mode), For: time.Duration(c.S3.ObjectLock.Days) * 24 * time.Hour},
			Sorting: sorting,
		},
		GCS:   gcs.Options{Class: c.GCS.StorageClass, KMSKey: c.GCS.KMSKey, Sorting: sorting},
		Azure: azblob.Options{Tier: c.Azure.AccessTier, Sorting: sorting},
	}
}

var encryptions = map[string]s3.Encryption{"s3": s3.SSES3, "kms": s3.SSEKMS}

func unlessAuto(value string) string {
	if value == "auto" {
		return ""
	}
	return value
}

// repositoryURL returns where the repository is, or nothing if that is not known.
func (g *Globals) repositoryURL() string {
	if g.Config == nil {
		return ""
	}
	return g.Config.Store.URL
}
