package kafka

// Config says how to reach one cluster. The zero value of every optional field
// means "not used"; Connect validates the whole.
type Config struct {
	// BootstrapServers are host:port addresses, tried in order. At least one.
	BootstrapServers []string

	// TLS is nil for plaintext listeners.
	TLS *TLS

	// SASL is nil for listeners without SASL.
	SASL *SASL

	// ClientID names this program in the broker's request log, metrics and
	// quotas. "" means "offsite". A client id quota on it is a rate limit
	// that the brokers enforce.
	ClientID string

	// Rack, if set, lets fetches be answered by a replica in the same rack
	// (see FetchedPartition.PreferredReplica).
	Rack string
}

// TLS holds the paths of PEM files. They are read at every new connection, so
// a rotated certificate is picked up without a restart. TLS 1.2 is the minimum
// and the broker's certificate is always verified.
type TLS struct {
	CAFile     string // trusted roots; "" means the system's
	CertFile   string // client certificate chain; "" means none
	KeyFile    string // its private key; set with CertFile or not at all
	ServerName string // name expected in broker certificates; "" means the host dialed
}

// SASL is a username and a password, sent by one of the mechanisms PLAIN,
// SCRAM-SHA-256 and SCRAM-SHA-512.
type SASL struct {
	// Mechanism ignores case; dashes and underscores are optional.
	Mechanism string
	Username  string

	// Password is called at every authentication, concurrently, so that a
	// rotated password is picked up; it must not block for long. It is a
	// function so that printing a Config cannot print the password.
	Password func() (string, error)
}
