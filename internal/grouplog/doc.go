// Package grouplog knows what groups have committed from what the brokers wrote
// about it, the topic __consumer_offsets: every commit in the order in which
// it counted, those of transactions included. sink follows the log while it is
// captured, source reads it again from the repository.
//
// Words: a commit counts from its record on, or, if a transaction made it, from
// the commit marker of that on; of several commits that count, that with the
// greatest offset in the log is in force, as in Kafka's own coordinator.
package grouplog
