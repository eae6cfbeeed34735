package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
)

// CheckFiles reads the files that a connection needs, and returns ErrInvalid with
// the key of each that is missing or holds something else. They may change later.
func (k *Kafka) CheckFiles() error {
	var errs []error
	if k.TLS != nil {
		errs = append(errs, k.TLS.checkAuthorities(), k.TLS.checkCertificate())
	}
	if k.SASL != nil {
		_, err := k.SASL.readPassword()
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

func (t *TLS) checkAuthorities() error {
	if t.CAFile == "" {
		return nil
	}
	b, err := os.ReadFile(t.CAFile)
	if err != nil {
		return fmt.Errorf("kafka.tls.caFile: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(b) {
		return fmt.Errorf("kafka.tls.caFile: %s: no PEM certificate in it", t.CAFile)
	}
	return nil
}

func (t *TLS) checkCertificate() error {
	if t.CertFile == "" && t.KeyFile == "" {
		return nil
	}
	cert, err := os.ReadFile(t.CertFile)
	if err != nil {
		return fmt.Errorf("kafka.tls.certFile: %w", err)
	}
	key, err := os.ReadFile(t.KeyFile)
	if err != nil {
		return fmt.Errorf("kafka.tls.keyFile: %w", err)
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		return fmt.Errorf("kafka.tls.certFile %s with kafka.tls.keyFile %s: %w", t.CertFile, t.KeyFile, err)
	}
	return nil
}

// password is asked for whenever a connection logs in.
func (s *SASL) password() (string, error) {
	p, err := s.readPassword()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return p, nil
}

// readPassword returns what is in the file, or else in the environment.
func (s *SASL) readPassword() (string, error) {
	if s.PasswordFile == "" {
		p := os.Getenv(PasswordVariable)
		if p == "" {
			return "", fmt.Errorf("no password for kafka.sasl: set kafka.sasl.passwordFile, or the environment variable %s", PasswordVariable)
		}
		return p, nil
	}
	b, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("kafka.sasl.passwordFile: %w", err)
	}
	p := strings.TrimRight(string(b), "\r\n")
	if p == "" {
		return "", fmt.Errorf("kafka.sasl.passwordFile: %s is empty", s.PasswordFile)
	}
	return p, nil
}
