package source

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize/english"
)

// addNotes says what is worth knowing.
func (p *Plan) addNotes() {
	if p.Snapshot.damage != "" {
		p.note("%s", p.Snapshot.damage)
	}
	if p.Snapshot.future {
		p.note("--at %s is yet to come: this is the newest recovery point that there is now", p.Request.At)
	}
	if p.target != "" && p.target == p.Snapshot.Repository.ClusterID {
		p.note("the target is the cluster that was backed up")
	}
	p.noteReencoded()
	if text := p.Held(); text != "" {
		p.note("%s", text)
	}
	p.noteBounds()
	p.noteUnmatched()
	p.noteOverrides()
	p.noteShareGroups()
	for _, t := range p.Topics {
		if t.OpenTransactions > 0 {
			p.note("%s", openNote(t.Target, t.OpenTransactions))
		}
		if t.oversized && t.Action != ActionNone && t.Held == nil {
			p.note("%s: a partition is larger than its retention.bytes, which may delete the oldest of the restored records at once", t.Target)
		}
		t.noteOversized(p)
		switch deleted := fmt.Sprintf("%s: its retention will delete at least %d of the restored records at once, the oldest of %s", t.Target, t.Expiring, Clock(t.Oldest)); {
		case t.Expiring == 0 || t.Action == ActionNone:
		case t.append:
			p.note("%s: add to a topic with a longer one", deleted)
		case t.Held == nil:
			p.note("%s: --hold-retention DURATION keeps them", deleted)
		default:
			p.note("%s: %s older than its retention; held until %s", t.Target, english.Plural(int(t.Expiring), "record is", "records are"), t.HoldUntil.UTC().Format(time.RFC3339))
		}
	}
	p.notePast()
}

// Held says why it is not the latest point, although that was asked for, or is
// empty.
func (p *Plan) Held() string {
	if p.Snapshot.instead == 0 {
		return ""
	}
	return fmt.Sprintf("this is the point that the target holds; the latest is %d: for that, delete the topics there, or use --rename, and give --at %d", p.Snapshot.instead, p.Snapshot.instead)
}

// openNote says what becomes of transactions that were open at the point.
func openNote(topic string, n int) string {
	return fmt.Sprintf("%s: %s open at the point; %s records are left out",
		topic, english.Plural(n, "transaction was", "transactions were"), english.PluralWord(n, "its", "their"))
}
