package segment

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// Checked returns a reader of what body yields: the bytes of the object before its
// footer, of which each block is checked on the way. Before io.EOF everything has
// been; what is not as the footer says ends in an error that wraps ErrCorrupt. A
// block's bytes come before that is known.
func (f *Footer) Checked(body io.Reader) io.Reader {
	c := &checkedBody{body: body, pieces: []piece{{headerSize, sha256.Sum256([]byte(magic)), "the magic"}}, sum: sha256.New()}
	for _, l := range f.InFileOrder() {
		c.pieces = append(c.pieces, piece{int(l.Block.StoredLength), l.Block.Digest, fmt.Sprintf("the block at byte %d", l.Block.Position)})
	}
	c.left = headerSize
	return c
}

// piece is a stretch of the body that has a digest.
type piece struct {
	length int
	digest [sha256.Size]byte
	what   string
}

type checkedBody struct {
	body   io.Reader
	pieces []piece // from the one that is being read on
	left   int     // of it
	sum    hash.Hash
}

// Read implements io.Reader.
func (c *checkedBody) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(c.pieces) == 0 {
		return 0, c.atEnd()
	}
	n, err := c.body.Read(p[:min(len(p), c.left)])
	c.sum.Write(p[:n])
	if c.left -= n; c.left == 0 {
		return n, c.nextPiece()
	}
	if err == io.EOF {
		err = fmt.Errorf("%w: it ends inside of %s", ErrCorrupt, c.pieces[0].what)
	}
	return n, err
}

// nextPiece compares the piece that was read.
func (c *checkedBody) nextPiece() error {
	if [sha256.Size]byte(c.sum.Sum(nil)) != c.pieces[0].digest {
		return fmt.Errorf("%w: the SHA-256 of %s is not the one in the footer", ErrCorrupt, c.pieces[0].what)
	}
	c.sum.Reset()
	c.pieces = c.pieces[1:]
	if len(c.pieces) > 0 {
		c.left = c.pieces[0].length
	}
	return nil
}

// atEnd returns io.EOF if the body ends with its last block.
func (c *checkedBody) atEnd() error {
	var more [1]byte
	n, err := io.ReadFull(c.body, more[:])
	if n > 0 {
		return fmt.Errorf("%w: it goes on behind its last block", ErrCorrupt)
	}
	return err
}
