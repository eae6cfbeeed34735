package admin_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/admin"
)

// Who asks at the port of the metrics is told so.
func TestAnotherListens(t *testing.T) {
	metrics := httptest.NewServer(http.NotFoundHandler())
	defer metrics.Close()
	c, err := admin.NewClient(metrics.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.Point(t.Context(), "x"); !errors.Is(err, admin.ErrAddress) || !strings.Contains(err.Error(), "http.listen") {
		t.Errorf("got %v", err)
	}
}

// Who asks where nobody listens is told so, and what to do.
func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	c, err := admin.NewClient(address)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Point(t.Context(), "x")
	for _, word := range []string{"no backupd run listens at http://" + address, "refused", "--admin-listen", "without --admin"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in %v", word, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "Post") {
		t.Errorf("the request is in %v", err)
	}
}
