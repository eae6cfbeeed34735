package s3

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Checksum is what content is sent with, for the server to compare, besides TLS or
// the SHA-256 in the signature.
type Checksum string

// The checksums.
const (
	// Auto is none, unless the bucket wants one: it is MD5 then, which every server
	// knows.
	Auto Checksum = ""
	// MD5 is the header Content-MD5.
	MD5 Checksum = "md5"
	// CRC32C is the header x-amz-checksum-crc32c, which costs least, is kept with
	// the object, and is unknown to servers of before 2022.
	CRC32C Checksum = "crc32c"
)

// checksums are those of one request; nil are not sent.
type checksums struct{ md5, crc32c *string }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func crc32cOf(data []byte) checksums {
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli))
	return checksums{crc32c: aws.String(base64.StdEncoding.EncodeToString(sum))}
}

func md5Of(data []byte) checksums {
	sum := md5.Sum(data)
	return checksums{md5: aws.String(base64.StdEncoding.EncodeToString(sum[:]))}
}

// send makes a request with content, with the checksum that the store has. Without
// one, S3 refuses content in buckets whose Object Lock has a default retention, and
// tells so by no other code than InvalidRequest: the MD5 is tried then.
func (s *Store) send(data []byte, request func(checksums) error) error {
	if s.checksum == CRC32C {
		return request(crc32cOf(data))
	}
	if !s.wantsMD5.Load() {
		if err := request(checksums{}); codeOf(err) != "InvalidRequest" {
			return err
		}
	}
	err := request(md5Of(data))
	if err == nil {
		s.wantsMD5.Store(true)
	}
	return err
}
