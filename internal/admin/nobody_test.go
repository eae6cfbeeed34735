package admin_test

import (
	"net"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/admin"
)

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
