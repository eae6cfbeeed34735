package batch

import "encoding/binary"

// ControlType is the kind of a control record, with Kafka's numbers. Kinds other than Abort and Commit do not occur in
// the logs of topics today.
type ControlType int16

// How a transaction ended.
const (
	Abort  ControlType = 0
	Commit ControlType = 1
)

// Control is the content of a control batch. Producer id and epoch of the transaction are in the batch's header.
type Control struct {
	Type             ControlType
	CoordinatorEpoch int32 // of the transaction coordinator that wrote the marker; -1 unless Type is Abort or Commit
}

// Marker reads the control record of raw, one whole batch whose checksum has been verified. It returns ErrNoMarker if
// compaction has left an empty control batch, and a *CorruptError if raw is no control batch or its record is
// malformed. It does not allocate.
func Marker(raw []byte) (Control, error) {
	h, err := ParseHeader(raw)
	if err != nil {
		return Control{}, err
	}
	switch {
	case len(raw) != h.Size():
		return Control{}, h.corrupt("%d bytes given, header says %d", len(raw), h.Size())
	case !h.IsControl():
		return Control{}, h.corrupt("not a control batch")
	case h.Count == 0:
		return Control{}, ErrNoMarker
	case h.Codec() != None: // brokers exempt control records even where the topic demands a codec
		return Control{}, h.corrupt("compressed control batch")
	}
	n, size := varint32(raw[HeaderSize:])
	if size <= 0 || n < 0 || int(n) > len(raw)-HeaderSize-size {
		return Control{}, h.corrupt("control record ends outside its batch")
	}
	var r Record
	if _, reason := r.parse(raw[HeaderSize+size:][:n]); reason != "" {
		return Control{}, h.corrupt("control record: %s", reason)
	}
	return parseControl(&h, r.Key(), r.Value())
}

// parseControl reads a control record: the key is a version and a type, and the value of an end-of-transaction marker
// a version and the coordinator's epoch. Later versions append fields, so longer ones are welcome.
func parseControl(h *Header, key, value []byte) (Control, error) {
	if len(key) < 4 {
		return Control{}, h.corrupt("control record with a key of %d bytes", len(key))
	}
	c := Control{Type: ControlType(binary.BigEndian.Uint16(key[2:])), CoordinatorEpoch: -1}
	if c.Type != Abort && c.Type != Commit {
		return c, nil
	}
	if len(value) < 6 {
		return Control{}, h.corrupt("transaction marker with a value of %d bytes", len(value))
	}
	c.CoordinatorEpoch = int32(binary.BigEndian.Uint32(value[2:]))
	return c, nil
}
