// Package objectstore runs a real S3 server, versitygw, on this machine, for tests and benchmarks. Objects are files.
package objectstore

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sys/unix"

	"github.com/offsite-kafka/offsite/test/bed/server"
	"github.com/offsite-kafka/offsite/test/bed/tool"
)

// The server is built from a module of its own.
const (
	module  = "versitygw"
	program = "github.com/versity/versitygw/cmd/versitygw"
)

// Bucket is the bucket that every server starts with.
const Bucket = "offsite"

// Region is what the server takes for its region.
const Region = "us-east-1"

// Fetch fills the cache, as the first start of a server would.
func Fetch(ctx context.Context) error {
	_, err := tool.Build(ctx, module, program)
	return err
}

// Server is an S3 server. Methods are safe for concurrent use, except Restart, Kill and Close. Its objects survive Kill.
type Server struct {
	*server.Server
	AccessKey, SecretKey string

	program string
	dir     string
}

// Start starts a server for the duration of a test, on an empty directory that goes with the test. It ends the test if
// the server does not start.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := Up(t.Context(), t.TempDir())
	if err != nil {
		t.Fatalf("start object store: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close object store: %v", err)
		}
	})
	return s
}

// Up starts a server with one empty bucket. dir takes everything the server writes; it is created if need be, and it
// stays the caller's to remove after Close. ctx bounds the start only.
func Up(ctx context.Context, dir string) (*Server, error) {
	program, err := tool.Build(ctx, module, program)
	if err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for _, d := range []string{"objects", "versions", "sidecar"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	s := &Server{AccessKey: "test" + rand.Text()[:12], SecretKey: rand.Text(), program: program, dir: dir}
	if s.Server, err = server.New("versitygw", filepath.Join(dir, "versitygw.log"), s.command); err != nil {
		return nil, err
	}
	err = s.Restart(ctx)
	if err == nil {
		_, err = s.Client().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(Bucket)})
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) command(addr string) *exec.Cmd {
	cmd := exec.Command(s.program, s.arguments(addr)...)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+s.AccessKey, "ROOT_SECRET_ACCESS_KEY="+s.SecretKey)
	return cmd
}

func (s *Server) arguments(addr string) []string {
	args := []string{
		"--port", addr, "--region", Region, "--quiet",
		"posix", "--versioning-dir", filepath.Join(s.dir, "versions"),
	}
	// Metadata is kept in extended attributes, which not every temporary directory has.
	if unix.Setxattr(s.objects(), "user.offsite", []byte("probe"), 0) != nil {
		args = append(args, "--sidecar", filepath.Join(s.dir, "sidecar"))
	}
	return append(args, s.objects())
}

// Env returns the environment variables that make the AWS SDKs talk to the server, as "KEY=value". No setting for
// path-style requests is among them: SDKs use that style with an endpoint that is an IP address.
func (s *Server) Env() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + s.Endpoint(),
		"AWS_ACCESS_KEY_ID=" + s.AccessKey,
		"AWS_SECRET_ACCESS_KEY=" + s.SecretKey,
		"AWS_REGION=" + Region,
		// Keep the SDKs from looking for anything else.
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=" + os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
}

// Client returns a new client of the server, with the SDK's defaults.
func (s *Server) Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.Endpoint()),
		Region:       Region,
		Credentials:  credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
}

// ObjectFile returns the file that holds an object's bytes, for tests that damage them.
func (s *Server) ObjectFile(bucket, key string) string {
	return filepath.Join(s.objects(), bucket, filepath.FromSlash(key))
}

func (s *Server) objects() string { return filepath.Join(s.dir, "objects") }
