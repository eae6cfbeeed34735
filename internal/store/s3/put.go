package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/offsite-kafka/offsite/internal/store"
)

const (
	// partSize in bytes: what fits goes out as one request.
	partSize = 8 << 20
	// partsInFlight bounds, with the part that is being filled, the memory of a
	// Put to three parts.
	partsInFlight = 2
	// maxParts is the limit of S3, so objects may have 80 GB.
	maxParts = 10_000
	// abortTimeout bounds the clean-up after a Put whose context has ended.
	abortTimeout = 30 * time.Second
)

// Put implements store.Store: as one PutObject, or as a multipart upload.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Info{}, err
	}
	u := s.newUpload(ctx, key, opts.IfAbsent)
	defer u.release()
	err := u.copy(r)
	if err == nil {
		err = u.complete()
	}
	if err != nil {
		if abortErr := u.abort(); abortErr != nil {
			err = fmt.Errorf("%w; its parts remain: %v", err, abortErr)
		}
		return store.Info{}, fmt.Errorf("put %s: %w", key, err)
	}
	return store.Info{Key: key, Size: u.size}, nil
}

// upload collects what is written to it in parts.
type upload struct {
	store    *Store
	ctx      context.Context
	name     *string
	ifAbsent bool
	terms    terms

	size int64
	buf  *[]byte // the part being filled

	// Of a multipart upload, which begins when there is more than one part.
	id       *string
	group    *errgroup.Group // sends the parts
	groupCtx context.Context // ended by the first part that fails
	parts    []*types.CompletedPart
}

func (s *Store) newUpload(ctx context.Context, key string, ifAbsent bool) *upload {
	return &upload{store: s, ctx: ctx, name: s.name(key), ifAbsent: ifAbsent, terms: s.termsFor(key, time.Now()), buf: s.getPart()}
}

func (s *Store) getPart() *[]byte {
	buf := s.parts.Get().(*[]byte)
	*buf = (*buf)[:0]
	return buf
}

// release returns the buffer, once nothing is in flight.
func (u *upload) release() { u.store.parts.Put(u.buf) }

// copy reads r to its end. It prefers WriteTo of r and else reads straight into
// the parts.
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
		free, err := u.free()
		if err != nil {
			return len(p) - len(rest), err
		}
		n := min(len(free), len(rest))
		u.extend(copy(free, rest[:n]))
		rest = rest[n:]
	}
	return len(p), nil
}

// ReadFrom implements io.ReaderFrom.
func (u *upload) ReadFrom(r io.Reader) (read int64, err error) {
	for {
		if len(*u.buf) == partSize {
			// Is there more? If not, the full part is the last or the only one.
			var one [1]byte
			n, err := io.ReadFull(r, one[:])
			read += int64(n)
			if err == io.EOF {
				return read, nil
			}
			if err != nil {
				return read, err
			}
			if _, err := u.Write(one[:]); err != nil {
				return read, err
			}
		}
		free, err := u.free()
		if err != nil {
			return read, err
		}
		n, err := r.Read(free)
		u.extend(n)
		read += int64(n)
		if err == io.EOF {
			return read, nil
		}
		if err != nil {
			return read, err
		}
	}
}

// free returns the unused rest of the part, after sending it if it is full.
func (u *upload) free() ([]byte, error) {
	if err := u.ctx.Err(); err != nil {
		return nil, err
	}
	if u.id != nil && u.groupCtx.Err() != nil {
		return nil, u.group.Wait()
	}
	if len(*u.buf) == partSize {
		if err := u.sendPart(); err != nil {
			return nil, err
		}
	}
	return (*u.buf)[len(*u.buf):partSize], nil
}

func (u *upload) extend(n int) {
	*u.buf = (*u.buf)[:len(*u.buf)+n]
	u.size += int64(n)
}

// sendPart hands the part to the group, waiting for its turn, and begins another.
func (u *upload) sendPart() error {
	if u.id == nil {
		if err := u.begin(); err != nil {
			return err
		}
	}
	if len(u.parts) == maxParts {
		return fmt.Errorf("object larger than %d parts of %d bytes: %w", maxParts, partSize, store.ErrInvalid)
	}
	part := &types.CompletedPart{PartNumber: aws.Int32(int32(len(u.parts) + 1))}
	u.parts = append(u.parts, part)
	buf := u.buf
	u.buf = u.store.getPart()
	u.group.Go(func() error {
		defer u.store.parts.Put(buf)
		return u.uploadPart(part, *buf)
	})
	return nil
}

func (u *upload) begin() error {
	in := &s3.CreateMultipartUploadInput{Bucket: &u.store.bucket, Key: u.name}
	u.terms.ofUpload(in)
	if u.store.checksum == CRC32C {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32c
	}
	out, err := u.store.client.CreateMultipartUpload(u.ctx, in)
	if err != nil {
		return u.terms.explain(u.store.classify(u.ctx, err))
	}
	if out.UploadId == nil {
		return errors.New("multipart upload begun without an id")
	}
	u.id = out.UploadId
	u.group, u.groupCtx = errgroup.WithContext(u.ctx)
	u.group.SetLimit(partsInFlight)
	return nil
}

func (u *upload) uploadPart(part *types.CompletedPart, data []byte) error {
	err := u.store.send(data, func(c checksums) error {
		out, err := u.store.client.UploadPart(u.groupCtx, &s3.UploadPartInput{
			Bucket: &u.store.bucket, Key: u.name, UploadId: u.id, PartNumber: part.PartNumber,
			Body: bytes.NewReader(data), ContentMD5: c.md5, ChecksumCRC32C: c.crc32c,
		})
		if err == nil {
			part.ETag, part.ChecksumCRC32C = out.ETag, c.crc32c
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("part %d: %w", *part.PartNumber, u.store.classify(u.ctx, err))
	}
	return nil
}

// complete makes the object visible.
func (u *upload) complete() error {
	var ifNoneMatch *string
	if u.ifAbsent {
		ifNoneMatch = aws.String("*")
	}
	if u.id == nil {
		ctx, watch := watchAttempts(u.ctx)
		err := u.store.send(*u.buf, func(c checksums) error {
			in := &s3.PutObjectInput{
				Bucket: &u.store.bucket, Key: u.name, IfNoneMatch: ifNoneMatch,
				Body: bytes.NewReader(*u.buf), ContentMD5: c.md5, ChecksumCRC32C: c.crc32c,
			}
			u.terms.ofPut(in)
			_, err := u.store.client.PutObject(ctx, in)
			return err
		})
		return u.terms.explain(u.store.classifyPut(u.ctx, err, watch, u.ifAbsent))
	}
	if err := u.sendPart(); err != nil { // the last one, which is never empty
		return err
	}
	if err := u.group.Wait(); err != nil {
		return err
	}
	parts := make([]types.CompletedPart, len(u.parts))
	for i, part := range u.parts {
		parts[i] = *part
	}
	ctx, watch := watchAttempts(u.ctx)
	out, err := u.store.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &u.store.bucket, Key: u.name, UploadId: u.id, IfNoneMatch: ifNoneMatch,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err == nil && out.ETag == nil {
		// S3 begins the answer before it knows the outcome.
		return errors.New("unknown if stored: incomplete answer")
	}
	return u.store.classifyPut(u.ctx, err, watch, u.ifAbsent)
}

// abort makes the server drop the parts of an upload that failed.
func (u *upload) abort() error {
	if u.id == nil {
		return nil
	}
	// Parts still on their way would be stored after the abort. An error of
	// theirs is what brought us here, or of no interest any more.
	_ = u.group.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), abortTimeout)
	defer cancel()
	_, err := u.store.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &u.store.bucket, Key: u.name, UploadId: u.id,
	})
	if codeOf(err) == "NoSuchUpload" {
		return nil
	}
	return err
}
