// Package batch reads, checks and rewrites Kafka record batches of format 2, as pure bytes: no client, no store, no
// goroutines.
//
// Words: a batch is the unit a broker stores and serves, a 61 byte header and a payload of records. "raw" is one whole
// batch, header included. A batch covers the offsets [BaseOffset, NextOffset); after compaction it may hold fewer
// records than that, or none. It is dense when it holds a record for every offset.
//
// The capture path only walks (Next) and never looks inside a payload. A replay either rewrites the header of a dense
// batch in place (Rewrite) or takes it apart (Decoder) and builds a new one (Builder).
//
// What the checksum does not cover: the CRC begins at the attributes, so damage to the base offset or the partition
// leader epoch of a batch is not detected here. The broker chose it so, since it assigns both after the producer has
// computed the CRC. Whoever stores batches needs a digest of his own over them, and whoever walks them should check
// that offsets go on ascending.
//
// All bytes are untrusted: no length found in a batch causes an allocation that the data present cannot fill, and what
// is decompressed from one batch is limited (MaxRecordSize, MaxDecompressed).
package batch
