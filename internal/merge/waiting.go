package merge

// Waiting says why segments are left as they are.
type Waiting struct {
	Young     int // captured later than Config.MinAge ago
	Uncovered int // by a recovery point
	Few       int // captured, and not enough of them to be worth it
	Merged    int // before, and not enough of them of about the same size
}

// Waiting says what there is to merge later, after Run or Plan.
func (m *Merger) Waiting() Waiting {
	w := Waiting{Merged: len(m.inv.homes())}
	points := m.chain.State().Points
	covered, old := uint64(0), m.now().Add(-m.config.MinAge).UnixMilli()
	if n := len(points); n > 0 {
		covered = points[n-1].Sequence
	}
	for i := range m.inv.captured {
		switch c := &m.inv.captured[i]; {
		case c.entry > covered:
			w.Uncovered++
		case c.time > old:
			w.Young++
		default:
			w.Few++
		}
	}
	return w
}
