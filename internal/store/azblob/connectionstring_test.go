package azblob_test

import (
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store/azblob"
)

// The connection string of the options counts more than the environment, which may be for another account.
func TestConnectionString(t *testing.T) {
	t.Setenv("AZURE_STORAGE_ACCOUNT", "another")
	t.Setenv("AZURE_STORAGE_CONNECTION_STRING", "nonsense")
	const text = "DefaultEndpointsProtocol=https;AccountName=second;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net"
	if _, err := azblob.Open("second", "container", "", azblob.Options{ConnectionString: text}); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		text:                  "the connection string of the configuration is for the account \"second\", but the URL names third",
		"AccountKey=c2VjcmV0": "the connection string of the configuration is no connection string",
	} {
		_, err := azblob.Open("third", "container", "", azblob.Options{ConnectionString: text})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
