package remote

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/offsite-kafka/offsite/internal/store"
)

// IsUnsent tells whether there was no connection to send the request on.
func IsUnsent(err error) bool {
	var (
		network *net.OpError
		name    *net.DNSError
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
	)
	return errors.As(err, &network) && (network.Op == "dial" || network.Op == "proxyconnect") ||
		errors.As(err, &name) || errors.As(err, &cert) || errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch)
}

// IsTimeout tells whether err is one of the network or of a context.
func IsTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// Unreachable returns an ErrUnreachable that says where there is no server,
// without the rest of the request.
func Unreachable(err error) error {
	var request *url.Error
	if !errors.As(err, &request) {
		return fmt.Errorf("%w: %v", store.ErrUnreachable, err)
	}
	endpoint := request.URL
	if u, parseErr := url.Parse(endpoint); parseErr == nil {
		endpoint = u.Scheme + "://" + u.Host
	}
	return fmt.Errorf("%w: %s: %v", store.ErrUnreachable, endpoint, request.Err)
}
