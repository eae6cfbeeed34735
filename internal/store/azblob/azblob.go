// Package azblob keeps objects as block blobs in a container of Azure Blob
// Storage.
//
// The identity needs to list, read and create blobs: the role Storage Blob Data
// Reader, and Storage Blob Data Contributor for who writes, which no smaller one
// that Azure brings allows. Blocks that a killed process leaves behind are
// invisible, and Azure drops them after a week. An account with a hierarchical
// namespace lists in another order than that of the names, and is refused for it.
package azblob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/remote"
)

// Environment variables, as the command line of Azure has them.
const (
	accountEnv    = "AZURE_STORAGE_ACCOUNT"
	endpointEnv   = "AZURE_STORAGE_SERVICE_ENDPOINT"
	connectionEnv = "AZURE_STORAGE_CONNECTION_STRING"
	keyEnv        = "AZURE_STORAGE_KEY"
	sasEnv        = "AZURE_STORAGE_SAS_TOKEN"
)

var (
	accountName   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	containerName = regexp.MustCompile(`^(\$root|\$web|[a-z0-9](-?[a-z0-9]){2,62})$`)
)

// Options say how blobs are put.
type Options struct {
	// ConnectionString has the credentials, in the place of those of the environment.
	ConnectionString string
	// Tier is the access tier of what Sorting calls bulk; if it is empty, it is that
	// of the account. What is bulk must be readable in it at once.
	Tier string

	Sorting store.Sorting
}

// Store is a container, or the part of it under a prefix.
type Store struct {
	opts               Options
	account, container string
	prefix             string // empty, or ends in a slash
	transport          *remote.Transport
	client             func() (*container.Client, error)
	parts              sync.Pool // *[]byte of capacity partSize
}

// Open prepares access to the blobs under prefix in a container. It asks nobody
// anything: credentials that are not in the environment are looked for by the
// first call.
func Open(account, name, prefix string, opts Options) (*Store, error) {
	if !accountName.MatchString(account) {
		return nil, fmt.Errorf("open azure account %q: no name of an account: %w", account, store.ErrInvalid)
	}
	if !containerName.MatchString(name) {
		return nil, fmt.Errorf("open azure container %q: no name of a container: %w", name, store.ErrInvalid)
	}
	prefix, err := remote.CleanPrefix(prefix)
	if err != nil {
		return nil, fmt.Errorf("open azure container %s: %w", name, err)
	}
	if opts.Tier == string(blob.AccessTierArchive) {
		return nil, fmt.Errorf("open azure container %s: blobs in %s cannot be read without being brought back: %w", name, opts.Tier, store.ErrInvalid)
	}
	s := &Store{opts: opts, account: account, container: name, prefix: prefix, transport: remote.NewTransport()}
	connect, err := s.connection()
	if err != nil {
		return nil, fmt.Errorf("open azure container %s: %w", name, err)
	}
	s.client = sync.OnceValues(connect)
	s.parts.New = func() any {
		buf := make([]byte, 0, partSize)
		return &buf
	}
	return s, nil
}

// connection chooses how to connect by what is in the environment.
func (s *Store) connection() (func() (*container.Client, error), error) {
	// The SDK's own repetitions are off: the transport repeats.
	options := &container.ClientOptions{ClientOptions: policy.ClientOptions{
		Transport: &http.Client{Transport: s.transport}, Retry: policy.RetryOptions{MaxRetries: -1},
	}}
	if text := s.opts.ConnectionString; text != "" {
		return s.byConnectionString("the connection string of the configuration", text, options)
	}
	if named := os.Getenv(accountEnv); named != "" && named != s.account {
		return nil, fmt.Errorf("%s is %q, but the URL names the account %s: %w", accountEnv, named, s.account, store.ErrInvalid)
	}
	if text := os.Getenv(connectionEnv); text != "" {
		return s.byConnectionString(connectionEnv, text, options)
	}
	base, err := s.endpoint()
	if err != nil {
		return nil, err
	}
	switch key, sas := os.Getenv(keyEnv), os.Getenv(sasEnv); {
	case key != "":
		credential, err := container.NewSharedKeyCredential(s.account, key)
		if err != nil { // it may repeat the key
			return nil, fmt.Errorf("%s is no key: %w", keyEnv, store.ErrInvalid)
		}
		return func() (*container.Client, error) {
			return container.NewClientWithSharedKeyCredential(base, credential, options)
		}, nil
	case sas != "":
		return func() (*container.Client, error) {
			return container.NewClientWithNoCredential(base+"?"+strings.TrimPrefix(sas, "?"), options)
		}, nil
	}
	return func() (*container.Client, error) {
		credential, err := azidentity.NewDefaultAzureCredential(nil)
		if err != nil {
			return nil, noCredentials(err)
		}
		return container.NewClient(base, identity{credential}, options)
	}, nil
}

func (s *Store) byConnectionString(origin, text string, options *container.ClientOptions) (func() (*container.Client, error), error) {
	client, err := container.NewClientFromConnectionString(text, s.container, options)
	if err != nil { // it may repeat the key
		return nil, fmt.Errorf("%s is no connection string: %w", origin, store.ErrInvalid)
	}
	for field := range strings.SplitSeq(text, ";") {
		if named, ok := strings.CutPrefix(strings.TrimSpace(field), "AccountName="); ok && named != s.account {
			return nil, fmt.Errorf("%s is for the account %q, but the URL names %s: %w", origin, named, s.account, store.ErrInvalid)
		}
	}
	return func() (*container.Client, error) { return client, nil }, nil
}

// endpoint returns the URL of the container.
func (s *Store) endpoint() (string, error) {
	base := os.Getenv(endpointEnv)
	if base == "" {
		return "https://" + s.account + ".blob.core.windows.net/" + s.container, nil
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return "", fmt.Errorf("%s is not a URL such as https://account.blob.core.windows.net/: %w", endpointEnv, store.ErrInvalid)
	}
	return u.JoinPath(s.container).String(), nil
}

// identity tells credentials that are refused, or are not there, from a server of
// tokens that does not answer.
type identity struct{ azcore.TokenCredential }

// GetToken implements azcore.TokenCredential.
func (i identity) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := i.TokenCredential.GetToken(ctx, options)
	var failed *azidentity.AuthenticationFailedError
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.As(err, &failed) && (failed.RawResponse == nil || failed.RawResponse.StatusCode >= 500):
		err = fmt.Errorf("get credentials: %w", err)
	default:
		err = noCredentials(err)
	}
	return token, err
}

var errNoCredentials = store.ErrNoCredentials

func noCredentials(err error) error {
	return fmt.Errorf("%w: %w: %v", store.ErrAuth, errNoCredentials, err)
}

// name returns the name in the container of the blob under key.
func (s *Store) name(key string) string { return s.prefix + key }
