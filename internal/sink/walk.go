package sink

import (
	"errors"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// piece is what a stream advances by: consecutive batches, or a gap.
type piece struct {
	stream   *stream
	sum      segment.Summary
	raw      []byte // the batches, aliasing a response; nil for a gap
	loose    int    // bytes of it in batches that are not compressed
	gap      bool
	reason   manifest.GapReason
	logStart int64  // of the source, -1 if not known
	grant    *grant // nil for a gap
}

// errCutOnly says that the response held only part of a batch.
var errCutOnly = errors.New("the batch does not fit into the response")

// walk checks the batches of a fetch response and cuts them into pieces of
// about blockBytes. start is the offset that was asked for; high is the high
// watermark, above which nothing is taken. What follows the last whole batch
// is left for the next request.
func walk(raw []byte, start, high int64, blockBytes int) ([]piece, error) {
	var pieces []piece
	p := newPiece(start)
	from := raw // where the piece's bytes begin
	rest := raw
	for len(rest) > 0 {
		h, one, after, err := batch.Next(rest)
		if errors.Is(err, batch.ErrCut) {
			break
		}
		if err != nil {
			return nil, err
		}
		if h.NextOffset() <= p.sum.Next { // below what was asked for
			if p.sum.Batches > 0 || len(pieces) > 0 {
				return nil, fmt.Errorf("%w: batch [%d,%d) after offset %d", errDisorder, h.BaseOffset, h.NextOffset(), p.sum.Next)
			}
			rest, from = after, after
			continue
		}
		if h.BaseOffset < p.sum.Next && (p.sum.Batches > 0 || len(pieces) > 0) {
			return nil, fmt.Errorf("%w: batch [%d,%d) overlaps offset %d", errDisorder, h.BaseOffset, h.NextOffset(), p.sum.Next)
		}
		if h.NextOffset() > high {
			break
		}
		if err := p.take(&h, one); err != nil {
			return nil, err
		}
		rest = after
		if n := len(from) - len(rest); n >= blockBytes {
			p.raw = from[:n:n]
			pieces = append(pieces, p)
			p, from = newPiece(p.sum.Next), rest
		}
	}
	if n := len(from) - len(rest); n > 0 && p.sum.Batches > 0 {
		p.raw = from[:n:n]
		pieces = append(pieces, p)
	}
	if len(pieces) == 0 && len(rest) > 0 {
		return nil, errCutOnly
	}
	return pieces, nil
}

// errDisorder: the broker's batches do not ascend.
var errDisorder = errors.New("the broker served batches out of order")

func newPiece(start int64) piece {
	return piece{sum: segment.Summary{Start: start, Next: start, LeaderEpoch: -1, Plain: true}}
}

// take adds one batch to the piece's summary.
func (p *piece) take(h *batch.Header, raw []byte) error {
	s := segment.Summary{
		Start: p.sum.Next, Next: h.NextOffset(), Batches: 1, LeaderEpoch: h.LeaderEpoch,
		Plain: h.IsDense() && !h.IsControl() && !h.IsTransactional() && !h.IsLogAppendTime() && h.BaseOffset == p.sum.Next,
	}
	if !h.IsControl() && h.Count > 0 {
		s.Records = int64(h.Count)
		s.MaxTimestamp = h.MaxTimestamp
		s.MinTimestamp = min(h.BaseTimestamp, h.MaxTimestamp)
		if h.HasDeleteHorizon() || h.IsLogAppendTime() {
			s.MinTimestamp = h.MaxTimestamp // BaseTimestamp is not a record's
		}
	}
	if h.IsTransactional() {
		kind, ok, err := eventKind(h, raw)
		if err != nil {
			return err
		}
		if ok && !p.known(kind, h) {
			offset := max(h.BaseOffset, s.Start)
			s.Events = []segment.TxnEvent{{Offset: offset, Kind: kind, ProducerID: h.ProducerID, ProducerEpoch: h.ProducerEpoch}}
		}
	}
	if h.Codec() == batch.None {
		p.loose += len(raw)
	}
	p.sum.Join(s)
	return nil
}

// eventKind tells what a transactional batch means for its transaction.
func eventKind(h *batch.Header, raw []byte) (kind segment.EventKind, ok bool, err error) {
	if !h.IsControl() {
		return segment.TxnData, h.Count > 0, nil
	}
	m, err := batch.Marker(raw)
	if errors.Is(err, batch.ErrNoMarker) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	switch m.Type {
	case batch.Commit:
		return segment.TxnCommit, true, nil
	case batch.Abort:
		return segment.TxnAbort, true, nil
	}
	return 0, false, nil
}

// known says whether data of this producer is open in the piece already.
func (p *piece) known(kind segment.EventKind, h *batch.Header) bool {
	if kind != segment.TxnData {
		return false
	}
	for i := len(p.sum.Events) - 1; i >= 0; i-- {
		if e := &p.sum.Events[i]; e.ProducerID == h.ProducerID {
			return e.Kind == segment.TxnData && e.ProducerEpoch == h.ProducerEpoch
		}
	}
	return false
}
