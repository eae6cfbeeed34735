package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
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
	st = limited.New(st, limited.Config{Upload: c.MaxUpload.Bytes(), Download: c.MaxDownload.Bytes()})
	return retrying.New(st, retrying.Config{Name: c.URL}, g.Log), nil
}

// PlainStore opens the same store without what repeats and limits its calls, with
// all that its provider can tell.
func (g *Globals) PlainStore(ctx context.Context) (store.Store, error) {
	if g.Config.Store.URL == "" {
		return nil, Usagef("which repository? give --repo URL, or store.url in the configuration")
	}
	st, err := openStore(ctx, &g.Config.Store)
	if err != nil { // nothing has been contacted yet
		return nil, fmt.Errorf("%w: %w", config.ErrInvalid, err)
	}
	return st, nil
}

// openStore opens a store with the options that the configuration has for it.
func openStore(ctx context.Context, c *config.Store) (store.Store, error) {
	options, err := storeOptions(c)
	if err != nil {
		return nil, err
	}
	return storeurl.Open(ctx, c.URL, options)
}

// storeOptions translates the configuration, and reads the files that it names.
func storeOptions(c *config.Store) (storeurl.Options, error) {
	authorities, err := readOption("s3.caFile", c.S3.CAFile)
	if err != nil {
		return storeurl.Options{}, err
	}
	connection, err := readOption("azure.connectionStringFile", c.Azure.ConnectionStringFile)
	if err != nil {
		return storeurl.Options{}, err
	}
	if _, err := readOption("gcs.credentialsFile", c.GCS.CredentialsFile); err != nil {
		return storeurl.Options{}, err
	}
	sorting := store.Sorting{
		Bulk:    func(key string) bool { return strings.HasPrefix(key, manifest.SegmentPrefix) },
		Passing: func(key string) bool { return strings.HasPrefix(key, storecheck.CanaryPrefix) },
	}
	return storeurl.Options{
		S3: s3.Options{
			Profile: c.S3.Profile, Authorities: authorities, Region: c.S3.Region, Endpoint: c.S3.Endpoint,
			Addressing: s3.Addressing(unlessAuto(c.S3.Addressing)), Checksum: s3.Checksum(unlessAuto(c.S3.Checksum)),
			Class: c.S3.StorageClass, Encryption: encryptions[c.S3.SSE], KMSKey: c.S3.KMSKeyID,
			Lock:    store.Lock{Mode: strings.ToUpper(c.S3.ObjectLock.Mode), For: time.Duration(c.S3.ObjectLock.Days) * 24 * time.Hour},
			Sorting: sorting,
		},
		GCS:   gcs.Options{CredentialsFile: c.GCS.CredentialsFile, Class: c.GCS.StorageClass, KMSKey: c.GCS.KMSKey, Sorting: sorting},
		Azure: azblob.Options{ConnectionString: string(connection), Tier: c.Azure.AccessTier, Sorting: sorting},
	}, nil
}

// readOption returns the content of the file that a key names, if it names one.
func readOption(key, file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err == nil && len(bytes.TrimSpace(b)) == 0 {
		err = fmt.Errorf("%s is empty", file)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return bytes.TrimSpace(b), nil
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
