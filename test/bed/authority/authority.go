// Package authority is a throwaway certificate authority whose certificates are files, as programs want them.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// validity is that of the authority, and of a leaf that asks for nothing else.
const validity = 24 * time.Hour

// Authority issues certificates. It is safe for concurrent use.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Leaf says what certificate to issue.
type Leaf struct {
	CommonName string
	// Hosts are names and addresses that a server answers to. A client certificate needs none.
	Hosts []string
	// NotAfter is when the certificate expires; the zero time means in a day. It may lie in the past.
	NotAfter time.Time
}

// Pair is an issued certificate and its key, in PEM files that the caller may read and remove.
type Pair struct {
	CertFile, KeyFile string
	// KeyAndCertFile holds both, which is what Kafka calls a PEM keystore.
	KeyAndCertFile string
}

// New creates an authority with a new key. Its files go to dir, which is created if need be.
func New(dir string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create authority: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "offsite test authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(validity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("create authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("create authority: %w", err)
	}
	a := &Authority{dir: dir, cert: cert, key: key}
	return a, os.WriteFile(a.CertFile(), pemCert(der), 0o644)
}

// CertFile returns the PEM file with the authority's certificate.
func (a *Authority) CertFile() string { return filepath.Join(a.dir, "ca.pem") }

// Pool returns a pool with the authority's certificate alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Issue issues a certificate for servers and clients and writes its files.
func (a *Authority) Issue(leaf Leaf) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("issue certificate %s: %w", leaf.CommonName, err)
	}
	template := leaf.template()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("issue certificate %s: %w", leaf.CommonName, err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("issue certificate %s: %w", leaf.CommonName, err)
	}
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	pair, err := a.write(template.SerialNumber.Text(16), pemCert(der), pemKey)
	if err != nil {
		return Pair{}, fmt.Errorf("issue certificate %s: %w", leaf.CommonName, err)
	}
	return pair, nil
}

func (l Leaf) template() *x509.Certificate {
	notAfter := l.NotAfter
	if notAfter.IsZero() {
		notAfter = time.Now().Add(validity)
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: l.CommonName},
		NotBefore:    notAfter.Add(-validity - time.Hour),
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range l.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return template
}

// write names the files by serial number, since two certificates may share a common name.
func (a *Authority) write(name string, cert, key []byte) (Pair, error) {
	base := filepath.Join(a.dir, name)
	pair := Pair{CertFile: base + ".crt", KeyFile: base + ".key", KeyAndCertFile: base + ".pem"}
	for file, content := range map[string][]byte{
		pair.CertFile:       cert,
		pair.KeyFile:        key,
		pair.KeyAndCertFile: append(append([]byte(nil), key...), cert...),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return Pair{}, err
		}
	}
	return pair, nil
}

// ClientTLS returns a configuration that trusts the authority alone and presents the certificates given.
func (a *Authority) ClientTLS(pairs ...Pair) (*tls.Config, error) {
	config := &tls.Config{RootCAs: a.Pool()}
	for _, p := range pairs {
		cert, err := tls.LoadX509KeyPair(p.CertFile, p.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("load certificate: %w", err)
		}
		config.Certificates = append(config.Certificates, cert)
	}
	return config, nil
}

func pemCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func serial() *big.Int {
	var b [8]byte
	rand.Read(b[:])
	b[0] &= 0x7f
	b[7] |= 1 // not zero
	return new(big.Int).SetBytes(b[:])
}
