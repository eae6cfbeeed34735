// Package metadata is what a cluster has besides topics and consumer groups:
// ACLs, quotas, configs of brokers, groups and client metrics, SCRAM users,
// features, transactional ids. Each is a kind, with content that is read from a
// cluster as a whole and written in one canonical form (docs/format.md,
// "Metadata"), so that content has changed where its bytes have.
package metadata

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Kind is one of the things that make up the metadata of a cluster.
type Kind string

// The kinds.
const (
	ACLs             Kind = "acls"
	BrokerConfigs    Kind = "broker-configs"
	ClientMetrics    Kind = "client-metrics"
	Features         Kind = "features"
	GroupConfigs     Kind = "group-configs"
	Quotas           Kind = "quotas"
	ScramUsers       Kind = "scram-users"
	TransactionalIDs Kind = "transactional-ids"
)

// Kinds returns all kinds, in the order of their names.
func Kinds() []Kind {
	return []Kind{ACLs, BrokerConfigs, ClientMetrics, Features, GroupConfigs, Quotas, ScramUsers, TransactionalIDs}
}

// Needs is what reading the kind takes, for people.
func (k Kind) Needs() string {
	switch k {
	case ACLs:
		return "an authorizer, and Describe on the Cluster"
	case ScramUsers:
		return "Describe on the Cluster"
	case BrokerConfigs, ClientMetrics, Quotas:
		return "DescribeConfigs on the Cluster"
	case GroupConfigs:
		return "Kafka 4.1, and DescribeConfigs on the Cluster and on all Groups"
	case TransactionalIDs:
		return "Describe on all TransactionalIds"
	}
	return "no right"
}

// Errors about contents.
var (
	// ErrTooLarge: there is more of a kind than an entry of the log may hold.
	ErrTooLarge = errors.New("too large to be captured")
	// ErrUnknown: a program of a later version has written this.
	ErrUnknown = errors.New("metadata of a form that this version does not know")
)

// Content is all that a cluster has of a kind. Its JSON form is canonical.
type Content interface {
	// Settings lists the content one by one, by object and name.
	Settings() []Setting
	// Len is the number of objects.
	Len() int
}

// Setting is one thing that is set for an object.
type Setting struct {
	Object string
	Name   string // "" where the object is all there is to say
	Value  string
	Secret bool // the value is not readable
}

// Read reads all of a kind from a cluster. The error matches
// kafka.ErrAuthorization or kafka.ErrUnsupported if another attempt would not
// help.
func Read(ctx context.Context, c *kafka.Cluster, k Kind) (Content, error) {
	switch k {
	case ACLs:
		return readACLs(ctx, c)
	case BrokerConfigs:
		return readConfigs(ctx, c, kafka.BrokerResource)
	case ClientMetrics:
		return readConfigs(ctx, c, kafka.ClientMetricsResource)
	case GroupConfigs:
		return readConfigs(ctx, c, kafka.GroupResource)
	case Features:
		return readFeatures(ctx, c)
	case Quotas:
		return readQuotas(ctx, c)
	case ScramUsers:
		return readScramUsers(ctx, c)
	case TransactionalIDs:
		return readTransactionalIDs(ctx, c)
	}
	return nil, fmt.Errorf("%w: kind %q", ErrUnknown, k)
}

// Capture reads a kind and returns it in its canonical form. Before is what was
// captured last, or nil: settings of brokers that are down are taken from it.
func Capture(ctx context.Context, c *kafka.Cluster, k Kind, before *string) (string, error) {
	content, err := Read(ctx, c, k)
	if err != nil {
		return "", err
	}
	if brokers, ok := content.(Configs); ok && k == BrokerConfigs && before != nil {
		if old, err := Decode(k, *before); err == nil {
			brokers.keepAbsent(old.(Configs), c.Brokers())
		}
	}
	text, err := Encode(content)
	if err == nil && len(text) > manifest.MaxMetadata {
		err = fmt.Errorf("%w: %d bytes", ErrTooLarge, len(text))
	}
	return text, err
}

// Encode returns the canonical form of a content.
func Encode(content Content) (string, error) { return encode(content) }

func encode(v any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", fmt.Errorf("encode metadata: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// Decode reads what Encode wrote. The error matches ErrUnknown if a kind or a
// member is not known.
func Decode(k Kind, text string) (Content, error) {
	switch k {
	case ACLs:
		return decode[ACLList](k, text)
	case BrokerConfigs:
		return decode[Configs](k, text)
	case ClientMetrics, GroupConfigs:
		return decode[Configs](k, text)
	case Features:
		return decode[Levels](k, text)
	case Quotas:
		return decode[QuotaList](k, text)
	case ScramUsers:
		return decode[Users](k, text)
	case TransactionalIDs:
		return decode[IDs](k, text)
	}
	return nil, fmt.Errorf("%w: kind %q", ErrUnknown, k)
}

func decode[T Content](k Kind, text string) (Content, error) {
	var v T
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnknown, k, err)
	}
	if again, err := Encode(v); err != nil || again != text {
		return nil, fmt.Errorf("%w: %s: not in the canonical form", ErrUnknown, k)
	}
	return v, nil
}
