package s3_test

import (
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store/s3"
)

// An endpoint without a scheme, which the SDK takes, is refused before anything is
// sent, and not shown.
func TestEndpointOfTheEnvironment(t *testing.T) {
	for endpoint, good := range map[string]bool{
		"http://127.0.0.1:1": true, "https://s3.example.net": true,
		"127.0.0.1:1": false, "s3.example.net:9000": false, "s3.example.net": false, "user:hunter2@host": false, "ftp://host": false,
	} {
		t.Setenv("AWS_REGION", "us-east-1")
		t.Setenv("AWS_ENDPOINT_URL", endpoint)
		_, err := s3.Open(t.Context(), "bucket", "", s3.Options{})
		if good != (err == nil) {
			t.Errorf("%s: %v", endpoint, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "AWS_ENDPOINT_URL") || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: says %v", endpoint, err)
		}
	}
}
