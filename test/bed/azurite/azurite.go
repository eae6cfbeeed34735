// Package azurite runs Azurite, which speaks the API of Azure Blob Storage, on this machine, for tests. Blobs are in its
// memory. It needs Node.js and npm, which not every machine has: its tests are skipped where they are missing.
package azurite

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/offsite-kafka/offsite/test/bed/cache"
	"github.com/offsite-kafka/offsite/test/bed/server"
)

// Account is the storage account that every server has, and Container the container that it starts with.
const (
	Account   = "offsitetest"
	Container = "offsite"
)

// ErrUnavailable says that this machine cannot run the server.
var ErrUnavailable = errors.New("azurite cannot be had here, so that nothing is tested with Azure")

// Fetch fills the cache, as the first start of a server would.
func Fetch(ctx context.Context) error {
	_, err := install(ctx)
	return err
}

// install returns the server's program, which npm puts into the cache with what it needs, as test/azurite pins it.
func install(ctx context.Context) (string, error) {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	repository, err := cache.Repository()
	if err != nil {
		return "", err
	}
	lock, err := os.ReadFile(filepath.Join(repository, "test", "azurite", "package-lock.json"))
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(lock)
	dir, err := cache.Dir(ctx, fmt.Sprintf("azurite-%x", digest[:6]), func(dir string) error {
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(repository, "test", "azurite"))); err != nil {
			return err
		}
		npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund")
		npm.Dir = dir
		if out, err := npm.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: npm ci: %w\n%s", ErrUnavailable, err, out)
		}
		return nil
	})
	return filepath.Join(dir, "node_modules", "azurite", "dist", "src", "blob", "main.js"), err
}

// Server is an Azure Blob server. Methods are safe for concurrent use, except Restart, Kill and Close.
type Server struct {
	*server.Server
	Key string // of the account
}

// Start starts a server for the duration of a test. It ends the test if the server does not start, and skips it where
// the server cannot be had.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := Up(t.Context(), t.TempDir())
	if errors.Is(err, ErrUnavailable) {
		t.Skipf("SKIPPED: %v", err)
	}
	if err != nil {
		t.Fatalf("start azurite: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close azurite: %v", err)
		}
	})
	return s
}

// Up starts a server with one account and one empty container. dir takes what it writes; it stays the caller's to
// remove after Close. ctx bounds the start only.
func Up(ctx context.Context, dir string) (*Server, error) {
	program, err := install(ctx)
	if err != nil {
		return nil, err
	}
	key := make([]byte, 64)
	_, _ = rand.Read(key) // never fails
	s := &Server{Key: base64.StdEncoding.EncodeToString(key)}
	s.Server, err = server.New("azurite", filepath.Join(dir, "azurite.log"), func(addr string) *exec.Cmd {
		host, port, _ := net.SplitHostPort(addr) // of our own making
		cmd := exec.Command("node", program, "--blobHost", host, "--blobPort", port,
			"--disableProductStyleUrl", "--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "AZURITE_ACCOUNTS="+Account+":"+s.Key)
		return cmd
	})
	if err != nil {
		return nil, err
	}
	if err = s.Restart(ctx); err == nil {
		err = s.CreateContainer(ctx, Container)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// CreateContainer makes another container.
func (s *Server) CreateContainer(ctx context.Context, name string) error {
	client, err := container.NewClientFromConnectionString(s.ConnectionString(), name, nil)
	if err != nil {
		return err
	}
	_, err = client.Create(ctx, nil)
	return err
}

// ServiceEndpoint returns the URL of the account's blobs.
func (s *Server) ServiceEndpoint() string { return s.Endpoint() + "/" + Account }

// ConnectionString returns how to reach the account, as Azure's tools want it.
func (s *Server) ConnectionString() string {
	return "DefaultEndpointsProtocol=http;AccountName=" + Account + ";AccountKey=" + s.Key + ";BlobEndpoint=" + s.ServiceEndpoint() + ";"
}

// Env returns the environment variables that make Offsite and the command line of Azure talk to the server, as "KEY=value".
func (s *Server) Env() []string {
	return []string{
		"AZURE_STORAGE_SERVICE_ENDPOINT=" + s.ServiceEndpoint(), "AZURE_STORAGE_KEY=" + s.Key,
		"AZURE_STORAGE_ACCOUNT=", "AZURE_STORAGE_CONNECTION_STRING=", "AZURE_STORAGE_SAS_TOKEN=",
	}
}
