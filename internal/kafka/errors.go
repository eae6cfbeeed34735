package kafka

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Why a connection could not be used. Errors of Connect match one of the first
// three. Requests made later return them as well, when a connection has to be
// opened anew; ErrUnreachable then comes with ErrRetriable.
var (
	// ErrUnreachable: no TCP connection, a name that does not resolve, or an
	// address at which nothing answers as a Kafka broker.
	ErrUnreachable = errors.New("broker unreachable")

	// ErrTLS: the two sides do not agree on TLS, or one refuses the other's
	// certificate.
	ErrTLS = errors.New("tls failed")

	// ErrAuthentication: SASL is missing, not wanted, of another mechanism,
	// or the credentials are wrong.
	ErrAuthentication = errors.New("authentication failed")

	// ErrAuthorization is matched by every *AuthorizationError.
	ErrAuthorization = errors.New("not authorized")

	// ErrUnsupported: the cluster does not know what was asked for, because of
	// its version or of how it is set up.
	ErrUnsupported = errors.New("not supported by the cluster")
)

// What a broker answered about a topic, a partition, a batch or a group. An
// error matches at most one of these.
var (
	// ErrRetriable: send it again later. Lost connections, timeouts, too few
	// in-sync replicas, elections in progress. For a produce request the
	// outcome is unknown: the batches may have been appended.
	ErrRetriable = errors.New("retriable")

	// ErrNotLeader: read metadata again; another broker leads the partition.
	ErrNotLeader = errors.New("not the leader")

	// ErrFencedLeaderEpoch: the epoch sent is older than the broker's; read
	// metadata again.
	ErrFencedLeaderEpoch = errors.New("leader epoch is fenced")

	// ErrUnknownLeaderEpoch: the epoch sent is newer than the broker's; the
	// broker has yet to catch up with the metadata.
	ErrUnknownLeaderEpoch = errors.New("leader epoch is not known yet")

	// ErrUnknownTopic: no such topic name or no such partition.
	ErrUnknownTopic = errors.New("unknown topic or partition")

	// ErrTopicRecreated: the topic id sent is not the one the broker has; the
	// topic was deleted, and perhaps created again under the same name.
	ErrTopicRecreated = errors.New("topic id is gone")

	// ErrOffsetOutOfRange: the offset lies before the log start or after the
	// log end.
	ErrOffsetOutOfRange = errors.New("offset out of range")

	// ErrTopicExists: CreateTopics for a name that is taken.
	ErrTopicExists = errors.New("topic already exists")

	// ErrGroupActive: an offset commit for a group that has members.
	ErrGroupActive = errors.New("group has active members")

	// ErrOutOfOrderSequence: the batch's sequence does not follow the last
	// one the broker appended for this producer id. Nothing was appended.
	ErrOutOfOrderSequence = errors.New("sequence out of order")

	// ErrDuplicateSequence: the batch was appended earlier, too long ago for
	// the broker to know its offset. Nothing was appended.
	ErrDuplicateSequence = errors.New("duplicate sequence")

	// ErrProducerFenced: the producer id's epoch is older than the broker's.
	ErrProducerFenced = errors.New("producer is fenced")

	// ErrInvalidRecord: the broker's validation refused the batch; the
	// error's text carries the broker's reason.
	ErrInvalidRecord = errors.New("invalid record")

	// ErrInvalidTimestamp: a timestamp lies outside what the topic accepts.
	ErrInvalidTimestamp = errors.New("invalid timestamp")

	// ErrCorruptBatch: the broker computed another CRC than the batch claims.
	ErrCorruptBatch = errors.New("corrupt batch")

	// ErrMessageTooLarge: the batch exceeds max.message.bytes or segment.bytes.
	ErrMessageTooLarge = errors.New("batch too large")
)

// AuthorizationError says which right is missing. It matches ErrAuthorization.
// All three words are Kafka's, as kafka-acls.sh spells them.
type AuthorizationError struct {
	Operation    string // "Read"; "" when the broker's answer does not say
	ResourceType string // "Topic", "Group", "Cluster", "TransactionalId"
	Resource     string // its name
}

func (e *AuthorizationError) Error() string {
	op := e.Operation
	if op == "" {
		op = "access"
	}
	return fmt.Sprintf("not authorized: %s on %s %q", op, e.ResourceType, e.Resource)
}

// Is makes errors.Is(err, ErrAuthorization) true.
func (e *AuthorizationError) Is(target error) bool { return target == ErrAuthorization }

// BrokerError is an error code of Kafka's. It matches the sentinel that the
// code means, if there is one.
type BrokerError struct {
	Code    int16
	Name    string // Kafka's, such as "POLICY_VIOLATION"
	Message string // the broker's own words, or a description of the code

	kind error
}

func (e *BrokerError) Error() string {
	return fmt.Sprintf("%s (%d): %s", e.Name, e.Code, strings.TrimSuffix(e.Message, "."))
}

// Unwrap returns the sentinel, or nil.
func (e *BrokerError) Unwrap() error { return e.kind }

// denied is the operation to name when the broker says that a right is missing:
// the answer itself only has the type of the resource.
type denied struct{ operation, resource string }

// brokerError is the error for a code other than 0.
func brokerError(code int16, message *string, d denied) error {
	e := kerr.TypedErrorForCode(code)
	switch e {
	case kerr.TopicAuthorizationFailed:
		return &AuthorizationError{Operation: d.operation, ResourceType: "Topic", Resource: d.resource}
	case kerr.GroupAuthorizationFailed:
		return &AuthorizationError{Operation: d.operation, ResourceType: "Group", Resource: d.resource}
	case kerr.ClusterAuthorizationFailed:
		return &AuthorizationError{Operation: d.operation, ResourceType: "Cluster", Resource: "kafka-cluster"}
	case kerr.TransactionalIDAuthorizationFailed:
		return &AuthorizationError{Operation: d.operation, ResourceType: "TransactionalId", Resource: d.resource}
	}
	b := &BrokerError{Code: code, Name: e.Message, Message: e.Description, kind: kindOf(e)}
	if message != nil && *message != "" {
		b.Message = *message
	}
	return b
}

func kindOf(e *kerr.Error) error {
	switch e {
	case kerr.NotLeaderForPartition:
		return ErrNotLeader
	case kerr.FencedLeaderEpoch:
		return ErrFencedLeaderEpoch
	case kerr.UnknownLeaderEpoch:
		return ErrUnknownLeaderEpoch
	case kerr.UnknownTopicOrPartition:
		return ErrUnknownTopic
	case kerr.UnknownTopicID, kerr.InconsistentTopicID:
		return ErrTopicRecreated
	case kerr.OffsetOutOfRange:
		return ErrOffsetOutOfRange
	case kerr.TopicAlreadyExists:
		return ErrTopicExists
	case kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.RebalanceInProgress,
		kerr.StaleMemberEpoch, kerr.FencedMemberEpoch, kerr.NonEmptyGroup:
		return ErrGroupActive
	case kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID:
		return ErrOutOfOrderSequence
	case kerr.DuplicateSequenceNumber:
		return ErrDuplicateSequence
	case kerr.InvalidProducerEpoch, kerr.ProducerFenced:
		return ErrProducerFenced
	case kerr.InvalidRecord:
		return ErrInvalidRecord
	case kerr.InvalidTimestamp:
		return ErrInvalidTimestamp
	case kerr.CorruptMessage: // which Kafka calls retriable: the same bytes are not
		return ErrCorruptBatch
	case kerr.MessageTooLarge, kerr.RecordListTooLarge:
		return ErrMessageTooLarge
	case kerr.UnsupportedVersion, kerr.SecurityDisabled:
		return ErrUnsupported
	}
	if e.Retriable {
		return ErrRetriable
	}
	return nil
}
