package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The versions of Kafka that the bed knows, as Options.Version names them.
const (
	Kafka43 = "4.3" // the newest supported one, and the default
	Kafka39 = "3.9" // the oldest supported one
)

// releases maps a version to the release on Maven Central that stands for it.
var releases = map[string]string{
	Kafka43: "4.3.1",
	Kafka39: "3.9.2",
}

// Listener names one of a broker's listeners.
type Listener string

// The listeners that a broker may have. All of them present or expect certificates of Cluster.Authority.
const (
	// Plaintext is always there. Its clients are User:ANONYMOUS, who is a super user.
	Plaintext Listener = "PLAINTEXT"
	// SASL is PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 without encryption.
	SASL Listener = "SASL"
	// TLS is encryption without client authentication. Its clients are User:ANONYMOUS too.
	TLS Listener = "TLS"
	// MTLS requires a client certificate. A client is User:CN=<the certificate's common name>.
	MTLS Listener = "MTLS"
	// SASLTLS is SASL over TLS.
	SASLTLS Listener = "SASLTLS"
)

// protocols maps a listener to its Kafka security protocol.
var protocols = map[Listener]string{
	Plaintext: "PLAINTEXT",
	SASL:      "SASL_PLAINTEXT",
	TLS:       "SSL",
	MTLS:      "SSL",
	SASLTLS:   "SASL_SSL",
}

// User may log in on the SASL listeners, by every mechanism they have.
type User struct {
	Name, Password string
}

// Options says what cluster to start. The zero value is one broker of the newest version with a plaintext listener.
type Options struct {
	// Brokers is 1 or 3; 0 means 1. Every broker is a controller too.
	Brokers int
	// Version is Kafka43 or Kafka39; "" means Kafka43.
	Version string
	// Listeners are those wanted besides Plaintext.
	Listeners []Listener
	// Users may log in on SASL and SASLTLS.
	Users []User
	// Authorizer denies everything to everybody but super users, unless an ACL allows it.
	Authorizer bool
	// SuperUsers are principals such as "User:admin", besides User:ANONYMOUS.
	SuperUsers []string
	// Properties are added to server.properties and win over what the bed sets.
	Properties map[string]string
	// HeapMB is the heap of each broker in MiB; 0 means 384.
	HeapMB int
	// Benchmark runs the JVM with the optimizing compiler and the garbage collector of a production broker. Without it
	// the JVM is set for a quick start.
	Benchmark bool
}

func (o Options) withDefaults() Options {
	if o.Brokers == 0 {
		o.Brokers = 1
	}
	if o.Version == "" {
		o.Version = Kafka43
	}
	if o.HeapMB == 0 {
		o.HeapMB = 384
	}
	o.Listeners = append([]Listener{Plaintext}, o.Listeners...)
	return o
}

// validate checks options that have their defaults.
func (o Options) validate() error {
	if o.Brokers != 1 && o.Brokers != 3 {
		return fmt.Errorf("options: Brokers is %d, want 1 or 3", o.Brokers)
	}
	if releases[o.Version] == "" {
		return fmt.Errorf("options: Version is %q, want one of %q", o.Version, slices.Sorted(maps.Keys(releases)))
	}
	for i, l := range o.Listeners {
		if protocols[l] == "" {
			return fmt.Errorf("options: unknown listener %q", l)
		}
		if slices.Contains(o.Listeners[:i], l) {
			return fmt.Errorf("options: listener %s is given twice", l)
		}
	}
	for _, u := range o.Users {
		if u.Name == "" || strings.ContainsAny(u.Name, " =;") || strings.ContainsAny(u.Name+u.Password, "\"\\\n") {
			return fmt.Errorf("options: user %q: a name or password that a JAAS line cannot hold", u.Name)
		}
	}
	return nil
}

func (o Options) has(listeners ...Listener) bool {
	return slices.ContainsFunc(listeners, func(l Listener) bool { return slices.Contains(o.Listeners, l) })
}
