//go:build e2e

package azblob_test

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/azblob"
	"github.com/offsite-kafka/offsite/internal/store/storetest"
	"github.com/offsite-kafka/offsite/test/bed/azurite"
)

// setEnv makes the process a client of server.
func setEnv(t *testing.T, server *azurite.Server) {
	for _, entry := range server.Env() {
		key, value, _ := strings.Cut(entry, "=")
		t.Setenv(key, value)
	}
}

func openContainer(t *testing.T, name, prefix string) *azblob.Store {
	t.Helper()
	s, err := azblob.Open(azurite.Account, name, prefix, azblob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	setEnv(t, azurite.Start(t))
	var n atomic.Int64
	storetest.Run(t, func(t *testing.T) store.Store {
		return openContainer(t, azurite.Container, fmt.Sprintf("prefix %d/Repository", n.Add(1)))
	})
}

// At the root of a container there is nothing to tell one store from another.
func TestConformanceWithoutPrefix(t *testing.T) {
	server := azurite.Start(t)
	setEnv(t, server)
	var n atomic.Int64
	storetest.Run(t, func(t *testing.T) store.Store {
		name := fmt.Sprintf("container-%d", n.Add(1))
		if err := server.CreateContainer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		return openContainer(t, name, "")
	})
}

func TestAlteredContent(t *testing.T) {
	server := azurite.Start(t)
	setEnv(t, server)
	storetest.RunAltered(t, server.Endpoint(), func(t *testing.T, endpoint string) store.Store {
		t.Setenv("AZURE_STORAGE_SERVICE_ENDPOINT", endpoint+"/"+azurite.Account)
		return openContainer(t, azurite.Container, "altered")
	}, 1000, azblob.PartSize, 2*azblob.PartSize+1000)
}

// Data has the access tier, what else there is has that of the account.
func TestAccessTier(t *testing.T) {
	server := azurite.Start(t)
	setEnv(t, server)
	s, err := azblob.Open(azurite.Account, azurite.Container, "tiers", azblob.Options{
		Tier: "Cool", Sorting: store.Sorting{Bulk: func(key string) bool { return strings.HasPrefix(key, "data/") }},
	})
	if err != nil {
		t.Fatal(err)
	}
	credential, err := container.NewSharedKeyCredential(azurite.Account, server.Key)
	if err != nil {
		t.Fatal(err)
	}
	client, err := container.NewClientWithSharedKeyCredential(server.Endpoint()+"/"+azurite.Account+"/"+azurite.Container, credential, nil)
	if err != nil {
		t.Fatal(err)
	}
	for key, size := range map[string]int{"data/1": 10, "data/2": azblob.PartSize + 1, "log/1": 10} {
		if _, err := s.Put(t.Context(), key, bytes.NewReader(make([]byte, size)), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		is, err := client.NewBlobClient("tiers/"+key).GetProperties(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.HasPrefix(key, "data/"); is.AccessTier == nil || (*is.AccessTier == "Cool") != want {
			t.Errorf("%s has the tier %v", key, is.AccessTier)
		}
	}
}

// The account is reached by a key, by a connection string, and by a signature
// with the rights that docs/operations.md names.
func TestCredentials(t *testing.T) {
	server := azurite.Start(t)
	credential, err := container.NewSharedKeyCredential(azurite.Account, server.Key)
	if err != nil {
		t.Fatal(err)
	}
	client, err := container.NewClientWithSharedKeyCredential(server.ServiceEndpoint()+"/"+azurite.Container, credential, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := client.GetSASURL(sas.ContainerPermissions{Read: true, List: true, Create: true, Write: true}, time.Now().Add(time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ := strings.Cut(signed, "?")
	for name, env := range map[string]map[string]string{
		"key":               {"AZURE_STORAGE_KEY": server.Key},
		"named account":     {"AZURE_STORAGE_KEY": server.Key, "AZURE_STORAGE_ACCOUNT": azurite.Account},
		"connection string": {"AZURE_STORAGE_CONNECTION_STRING": server.ConnectionString(), "AZURE_STORAGE_SERVICE_ENDPOINT": ""},
		"signature":         {"AZURE_STORAGE_SAS_TOKEN": token},
		"signature with ?":  {"AZURE_STORAGE_SAS_TOKEN": "?" + token},
	} {
		t.Run(name, func(t *testing.T) {
			setEnv(t, server)
			t.Setenv("AZURE_STORAGE_KEY", "")
			for key, value := range env {
				t.Setenv(key, value)
			}
			s := openContainer(t, azurite.Container, url.PathEscape(name))
			for i, size := range []int{1, azblob.PartSize + 1} {
				key := fmt.Sprint("k", i)
				if _, err := s.Put(t.Context(), key, strings.NewReader(strings.Repeat("x", size)), store.PutOptions{IfAbsent: true}); err != nil {
					t.Error(err)
				}
				if info, err := s.Stat(t.Context(), key); err != nil || info.Size != int64(size) {
					t.Errorf("Stat = %+v, %v", info, err)
				}
			}
			if err := s.List(t.Context(), "", func(store.Info) error { return nil }); err != nil {
				t.Error(err)
			}
			if name == "signature" {
				wantClass(t, s.Delete(t.Context(), "k0"), store.ErrAuth)
			}
		})
	}
}

func TestServerRefusals(t *testing.T) {
	server := azurite.Start(t)
	setEnv(t, server)
	test := func(name string, want error) {
		s := openContainer(t, name, "")
		for op, call := range calls {
			err := call(s)
			wantClass(t, err, want)
			if want == store.ErrInvalid && !strings.Contains(fmt.Sprint(err), "container no-such-container does not exist in the account") {
				t.Errorf("%s: %v does not name the container", op, err)
			}
		}
	}
	test("no-such-container", store.ErrInvalid)
	t.Setenv("AZURE_STORAGE_KEY", "d3Jvbmc=")
	test(azurite.Container, store.ErrAuth)
}
