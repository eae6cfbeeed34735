// Package kafka is everything Offsite says to a Kafka cluster: metadata,
// configs, consumer groups, raw fetch of record batches, raw produce of them,
// and the few admin requests a restore needs. It is the only package that
// imports a Kafka client, so that nothing else depends on one.
//
// The words are Kafka's. A topic is a name and a TopicID; the same name with
// another id is another incarnation. Offsets are int64 and, where they bound a
// range, exclusive at the end: a high watermark, a last stable offset and an
// end offset all name the next offset, not the last one. An epoch is the
// leader epoch of a partition; -1 means "not known" everywhere.
//
// # Errors
//
// Every error that a caller may have to act on matches a sentinel of this
// package by errors.Is; see errors.go. Nothing here retries a fetch or a
// produce: the caller owns the loop. Metadata, config, group and offset
// requests retry lost connections and stale routing for a bounded time.
package kafka
