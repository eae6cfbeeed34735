package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// ErrAddress says that the address of an admin listener is none.
var ErrAddress = errors.New("not the address of an admin listener")

var errNobody = errors.New("no backupd run listens at")

// Client asks a running backupd.
type Client struct {
	base string // without a path
	http http.Client
}

// NewClient returns a client of the listener at an address, HOST:PORT or http://HOST:PORT.
func NewClient(address string) (*Client, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Port() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%w: %q: want http://HOST:PORT", ErrAddress, address)
	}
	c := &Client{base: u.Scheme + "://" + u.Host}
	c.http.Transport = &http.Transport{DisableKeepAlives: true} // no proxy: the address is this machine's
	return c, nil
}

// Point asks for a recovery point with the given name and waits until it is
// durable. The error is manifest.ErrPointName or manifest.ErrNameTaken if the
// daemon refuses the name.
func (c *Client) Point(ctx context.Context, name string) (manifest.PointRef, error) {
	body, err := json.Marshal(pointRequest{name})
	if err != nil {
		return manifest.PointRef{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+pointsPath, bytes.NewReader(body))
	if err != nil {
		return manifest.PointRef{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return manifest.PointRef{}, fmt.Errorf("%w %s (%w): start backupd run with admin.listen or --admin-listen set to that, or look in its log for where it listens; while none is at work, point create without --admin makes the point by itself", errNobody, c.base, dial.Err)
	}
	if err != nil {
		return manifest.PointRef{}, fmt.Errorf("ask backupd for a recovery point: %w", err)
	}
	defer resp.Body.Close()
	limited := io.LimitReader(resp.Body, 64<<10)
	if resp.StatusCode != http.StatusCreated {
		return manifest.PointRef{}, refusal(resp.Status, limited)
	}
	var a pointAnswer
	if err := json.NewDecoder(limited).Decode(&a); err != nil || a.Point == 0 || a.Name != name {
		return manifest.PointRef{}, fmt.Errorf("ask %s for a recovery point: its answer is not that of a backupd", c.base)
	}
	return manifest.PointRef{Sequence: a.Point, Time: a.Time.UnixMilli(), Name: a.Name}, nil
}

// refusal turns an answer that is no success into an error.
func refusal(status string, body io.Reader) error {
	var f failure
	if err := json.NewDecoder(body).Decode(&f); err != nil || f.Error == "" {
		if strings.HasPrefix(status, "404 ") {
			return fmt.Errorf("%w: what listens there answers %s: the port of http.listen, for metrics, is another than that of admin.listen", ErrAddress, status)
		}
		return fmt.Errorf("ask backupd for a recovery point: it answers %s", status)
	}
	for reason, err := range map[string]error{reasonName: manifest.ErrPointName, reasonTaken: manifest.ErrNameTaken} {
		if f.Reason == reason {
			return &remote{f.Error, err}
		}
	}
	return fmt.Errorf("the daemon answers: %s", f.Error)
}

// remote is an error that the daemon has told.
type remote struct {
	text string
	err  error
}

func (r *remote) Error() string { return r.text }
func (r *remote) Unwrap() error { return r.err }
