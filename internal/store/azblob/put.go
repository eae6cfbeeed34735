package azblob

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"io"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"golang.org/x/sync/errgroup"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/remote"
)

const (
	// partSize in bytes: what fits goes out as one request.
	partSize = 8 << 20
	// partsInFlight bounds, with the part that is being filled, the memory of a
	// Put to three parts.
	partsInFlight = 2
	// maxParts is the limit of Azure, so blobs may have 400 GB.
	maxParts = 50_000
)

// Put implements store.Store: as one Put Blob, or as blocks that a Put Block List
// makes visible. The server compares the CRC-64 of each request with its content.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Info{}, err
	}
	u, err := s.newUpload(ctx, key, opts.IfAbsent)
	if err != nil {
		return store.Info{}, fmt.Errorf("put %s: %w", key, err)
	}
	defer u.release()
	if err = u.copy(r); err == nil {
		err = u.complete()
	}
	if err != nil {
		return store.Info{}, fmt.Errorf("put %s: %w", key, err)
	}
	return store.Info{Key: key, Size: u.size}, nil
}

// upload collects what is written to it in parts.
type upload struct {
	store    *Store
	ctx      context.Context
	watch    *remote.Watch // of the request that makes the blob visible
	client   *blockblob.Client
	ifAbsent bool
	tier     *blob.AccessTier

	size int64
	buf  *[]byte // the part being filled

	// Of a blob in blocks, which begins when there is more than one part.
	cancel   context.CancelFunc
	group    *errgroup.Group // sends the parts
	groupCtx context.Context // ended by the first part that fails
	nonce    [16]byte        // so that no two uploads of a blob share the names of their blocks
	blocks   []string
}

func (s *Store) newUpload(ctx context.Context, key string, ifAbsent bool) (*upload, error) {
	client, err := s.client()
	if err != nil {
		return nil, s.classify(ctx, err)
	}
	u := &upload{store: s, ctx: ctx, client: client.NewBlockBlobClient(s.name(key)), ifAbsent: ifAbsent, buf: s.getPart()}
	if tier := blob.AccessTier(s.opts.Tier); tier != "" && s.opts.Sorting.IsBulk(key) {
		u.tier = &tier
	}
	_, _ = rand.Read(u.nonce[:]) // never fails
	return u, nil
}

func (s *Store) getPart() *[]byte {
	buf := s.parts.Get().(*[]byte)
	*buf = (*buf)[:0]
	return buf
}

// release ends what is in flight and returns the buffer. Blocks that were sent
// are invisible, and there is no way to remove them: Azure does, after a week.
func (u *upload) release() {
	if u.group != nil {
		u.cancel()
		_ = u.group.Wait() // its error is what brought us here, or of no interest any more
	}
	u.store.parts.Put(u.buf)
}

// copy reads r to its end. It prefers WriteTo of r.
func (u *upload) copy(r io.Reader) error {
	if err := u.ctx.Err(); err != nil {
		return err
	}
	if _, err := io.Copy(u, r); err != nil {
		return err
	}
	return u.ctx.Err()
}

// Write implements io.Writer.
func (u *upload) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if err := u.ctx.Err(); err != nil {
			return len(p) - len(rest), err
		}
		if len(*u.buf) == partSize {
			if err := u.sendPart(); err != nil {
				return len(p) - len(rest), err
			}
		}
		n := min(partSize-len(*u.buf), len(rest))
		*u.buf = append(*u.buf, rest[:n]...)
		u.size += int64(n)
		rest = rest[n:]
	}
	return len(p), nil
}

// sendPart hands the part to the group, waiting for its turn, and begins another.
func (u *upload) sendPart() error {
	if u.group == nil {
		ctx, cancel := context.WithCancel(u.ctx)
		u.cancel = cancel
		u.group, u.groupCtx = errgroup.WithContext(ctx)
		u.group.SetLimit(partsInFlight)
	}
	if u.groupCtx.Err() != nil {
		return u.group.Wait()
	}
	if len(u.blocks) == maxParts {
		return fmt.Errorf("blob larger than %d blocks of %d bytes: %w", maxParts, partSize, store.ErrInvalid)
	}
	id := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(u.nonce[:], uint32(len(u.blocks))))
	u.blocks = append(u.blocks, id)
	buf := u.buf
	u.buf = u.store.getPart()
	u.group.Go(func() error {
		defer u.store.parts.Put(buf)
		_, err := u.client.StageBlock(remote.AsPart(u.groupCtx), id, body(*buf), &blockblob.StageBlockOptions{TransactionalValidation: checksum(*buf)})
		if err != nil {
			return fmt.Errorf("block: %w", u.store.classify(u.ctx, err))
		}
		return nil
	})
	return nil
}

// complete makes the blob visible.
func (u *upload) complete() error {
	var ctx context.Context
	ctx, u.watch = remote.WatchAttempts(u.ctx)
	if u.group == nil {
		_, err := u.client.Upload(ctx, body(*u.buf), &blockblob.UploadOptions{
			TransactionalValidation: checksum(*u.buf), AccessConditions: u.conditions(), Tier: u.tier,
		})
		return u.store.classifyPut(u.ctx, err, u.watch, u.ifAbsent)
	}
	if err := u.sendPart(); err != nil { // the last one, which is never empty
		return err
	}
	if err := u.group.Wait(); err != nil {
		return err
	}
	_, err := u.client.CommitBlockList(ctx, u.blocks, &blockblob.CommitBlockListOptions{AccessConditions: u.conditions(), Tier: u.tier})
	if u.ifAbsent && has(err, bloberror.InvalidBlockList) {
		return u.lostBlocks(err)
	}
	return u.store.classifyPut(u.ctx, err, u.watch, u.ifAbsent)
}

// lostBlocks looks why blocks that were sent are not there any more: whoever makes
// a blob visible, maybe an attempt of our own, takes the blocks of all others.
func (u *upload) lostBlocks(err error) error {
	if _, statErr := u.client.GetProperties(u.ctx, nil); statErr == nil {
		return fmt.Errorf("%w: %w", store.ErrExists, u.store.explain(err))
	}
	return fmt.Errorf("unknown if stored: %w", u.store.explain(err))
}

func (u *upload) conditions() *blob.AccessConditions {
	if !u.ifAbsent {
		return nil
	}
	anything := azcore.ETagAny
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &anything}}
}

func body(data []byte) io.ReadSeekCloser { return streaming.NopCloser(bytes.NewReader(data)) }

// crc64Table is of the polynomial that Azure has.
var crc64Table = crc64.MakeTable(0x9A6C9329AC4BC9B5)

func checksum(data []byte) blob.TransferValidationType {
	return blob.TransferValidationTypeCRC64(crc64.Checksum(data, crc64Table))
}
