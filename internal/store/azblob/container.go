package azblob

import (
	"context"
	"errors"
	"fmt"
	"hash/crc64"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/offsite-kafka/offsite/internal/store"
)

// PutCorrupt implements store.Corrupter.
func (s *Store) PutCorrupt(ctx context.Context, key string, data []byte) (taken bool, err error) {
	if err := store.CheckKey(key); err != nil {
		return false, err
	}
	client, err := s.client()
	if err != nil {
		return false, s.classify(ctx, err)
	}
	other := blob.TransferValidationTypeCRC64(^crc64.Checksum(data, crc64Table))
	_, err = client.NewBlockBlobClient(s.name(key)).Upload(ctx, body(data), &blockblob.UploadOptions{TransactionalValidation: other})
	if has(err, bloberror.CRC64Mismatch, bloberror.MD5Mismatch) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("put %s with a wrong checksum: %w", key, s.classify(ctx, err))
	}
	return true, nil
}

// properties returns what Azure tells of the container to who uses its blobs. Its
// lifecycle rules, for one, are known to the resource manager only.
func (s *Store) properties(ctx context.Context) (container.GetPropertiesResponse, error) {
	client, err := s.client()
	if err != nil {
		return container.GetPropertiesResponse{}, s.classify(ctx, err)
	}
	properties, err := client.GetProperties(ctx, nil)
	if err = s.classify(ctx, err); errors.Is(err, store.ErrAuth) && !errors.Is(err, store.ErrCredentials) {
		err = fmt.Errorf("it needs the right to read the properties of the container, which a signature for it cannot give: %w", err)
	}
	return properties, err
}

// Versioning implements store.Versioner. That blobs have versions the container
// tells only where they can be locked one by one.
func (s *Store) Versioning(ctx context.Context) (store.Versioning, error) {
	p, err := s.properties(ctx)
	if err != nil {
		return store.Versioning{}, err
	}
	if on := p.IsImmutableStorageWithVersioningEnabled; on == nil || !*on {
		return store.Versioning{}, errors.New("only the resource manager of Azure is told")
	}
	return store.Versioning{Enabled: true}, nil
}

// Lock implements store.Locker.
func (s *Store) Lock(ctx context.Context) (store.Lock, error) {
	p, err := s.properties(ctx)
	if err != nil {
		return store.Lock{}, err
	}
	var lock store.Lock
	lock.Possible = p.IsImmutableStorageWithVersioningEnabled != nil && *p.IsImmutableStorageWithVersioningEnabled
	switch {
	case p.HasImmutabilityPolicy != nil && *p.HasImmutabilityPolicy:
		lock.Mode = "an immutability policy"
	case p.HasLegalHold != nil && *p.HasLegalHold:
		lock.Mode = "a legal hold"
	}
	return lock, nil
}
