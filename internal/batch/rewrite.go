package batch

import "encoding/binary"

// ProducerIdentity is what makes a produced batch idempotent: an id and epoch given out by the broker and the
// sequence number of the batch's first record. All three are -1 for a batch without idempotence.
type ProducerIdentity struct {
	ID       int64
	Epoch    int16
	Sequence int32
}

// Rewrite makes raw, one whole valid batch, ready to be produced with id, in place and without looking at the payload:
// base offset 0 and no leader epoch, as the broker requires and assigns; not transactional; no delete horizon, which
// would let the target's cleaner drop tombstones at once; checksum recomputed. Timestamps and codec stay.
//
// Rewrite does not judge. A broker refuses control batches and batches that are not dense, and silently changes the
// timestamps of log-append-time ones: those must be left out or rebuilt (see Builder). Rewrite panics if raw is shorter
// than a header.
func Rewrite(raw []byte, id ProducerIdentity) {
	be := binary.BigEndian
	noEpoch := int32(noLeaderEpoch)
	attributes := be.Uint16(raw[posAttributes:])
	be.PutUint64(raw[posBaseOffset:], 0)
	be.PutUint32(raw[posLeaderEpoch:], uint32(noEpoch))
	be.PutUint16(raw[posAttributes:], attributes&^(flagTransactional|flagDeleteHorizon))
	be.PutUint64(raw[posProducerID:], uint64(id.ID))
	be.PutUint16(raw[posProducerEpoch:], uint16(id.Epoch))
	be.PutUint32(raw[posBaseSequence:], uint32(id.Sequence))
	be.PutUint32(raw[posCRC:], checksum(raw))
}
