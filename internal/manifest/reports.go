package manifest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/store"
)

// ReportPrefix is what the keys of all reports begin with.
const ReportPrefix = "reports/"

// NoteReports is the kind of the notes that pin reports.
const NoteReports ActionKind = "reports"

// maxReport bounds the object of a report, and pinAtOnce how many are pinned by one entry.
const (
	maxReport = 16 << 20
	pinAtOnce = 1000

	sealedOverhead = 64 // more than what a sealed object is longer by
)

// Report is an object that somebody has put beside the log, who may not append to it.
type Report struct {
	Key    string `json:"object"`
	SHA256 string `json:"sha256"` // of the whole object, in hexadecimal
}

// pinnedReports is the text of a note of kind NoteReports.
type pinnedReports struct {
	Reports []Report `json:"reports"`
}

// PutReport stores the JSON of content, which must be an object, as a report of its
// own, and returns its key.
func (r *Repository) PutReport(ctx context.Context, content any, now time.Time) (string, error) {
	text, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	// As in the descriptor: the last member is the digest of all, with zeros in its place.
	open := bytes.TrimSuffix(text, []byte("\n}"))
	whole := func(sum string) []byte { return fmt.Appendf(nil, "%s,\n  \"sha256\": \"%s\"\n}\n", open, sum) }
	sum := sha256.Sum256(whole(zeros))
	b := whole(hex.EncodeToString(sum[:]))
	if len(b) > maxReport {
		return "", fmt.Errorf("a report of %d bytes is above the limit of %d", len(b), maxReport)
	}
	key := ReportPrefix + now.UTC().Format("20060102t150405z") + "-" + strings.ToLower(rand.Text()[:8]) + ".json"
	if b, err = r.sealObject(r.keys.newest().list, key, b); err != nil {
		return "", fmt.Errorf("seal %s: %w", key, err)
	}
	if _, err := r.store.Put(ctx, key, bytes.NewReader(b), store.PutOptions{IfAbsent: true}); err != nil {
		return "", fmt.Errorf("put %s: %w", key, err)
	}
	return key, nil
}

// Reports returns the reports that are there, in the order of their keys, but for
// those whose keys are known. What is no report is left out.
func (r *Repository) Reports(ctx context.Context, known map[string]bool) (list []Report, err error) {
	keys, err := r.ReportKeys(ctx, known)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		_, object, err := r.ReadReport(ctx, key)
		if errors.Is(err, ErrDamaged) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, ReportOf(key, object))
	}
	return list, nil
}

// ReportKeys returns the keys of all that is where reports are, in their order, but for
// those that are known.
func (r *Repository) ReportKeys(ctx context.Context, known map[string]bool) (keys []string, err error) {
	if err := r.store.List(ctx, ReportPrefix, func(i store.Info) error {
		if !known[i.Key] {
			keys = append(keys, i.Key)
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("list the reports: %w", err)
	}
	return keys, nil
}

// ReportOf names a report with the given bytes.
func ReportOf(key string, b []byte) Report {
	return Report{key, Digest(sha256.Sum256(b)).String()}
}

// ReadReport returns the JSON of a report, and its object, which differs if the
// repository is encrypted.
func (r *Repository) ReadReport(ctx context.Context, key string) (text, object []byte, err error) {
	object, err = readObject(ctx, r.store, key, maxReport+sealedOverhead)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", key, err)
	}
	text, err = r.openReport(ctx, key, object)
	return text, object, err
}

// openReport returns the JSON of a report's object.
func (r *Repository) openReport(ctx context.Context, key string, object []byte) ([]byte, error) {
	text, err := r.OpenObject(ctx, key, object)
	if errors.Is(err, crypt.ErrForged) || errors.Is(err, ErrLocked) { // whoever may create reports can make up a generation, too
		return nil, &Damage{key, err}
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if !descriptorIntact(text) || !json.Valid(text) {
		return nil, damaged(key, "its content does not match its SHA-256")
	}
	return text, nil
}

// CopyReport puts a report into a copy of the repository, in the place of one that is
// damaged there. One that is sound and has other bytes it leaves alone: the error is
// a *Damage, since only the log may know which one is right. So it is if the report
// is damaged here, and not sound there.
func (r *Repository) CopyReport(ctx context.Context, key string, copied store.Store) (replaced bool, err error) {
	_, b, err := r.ReadReport(ctx, key)
	if errors.Is(err, ErrDamaged) && r.isSoundIn(ctx, key, copied) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = copied.Put(ctx, key, bytes.NewReader(b), store.PutOptions{IfAbsent: true})
	if !errors.Is(err, store.ErrExists) {
		return false, err
	}
	there, err := readObject(ctx, copied, key, maxReport+sealedOverhead)
	if err == nil {
		if bytes.Equal(there, b) {
			return false, nil
		}
		if _, err = r.openReport(ctx, key, there); err == nil {
			return false, damaged(key, "it differs from that in the copy, although both are sound: backupd audit knows which one the log names")
		}
	}
	if !errors.Is(err, ErrDamaged) {
		return false, fmt.Errorf("read %s in the copy: %w", key, err)
	}
	_, err = copied.Put(ctx, key, bytes.NewReader(b), store.PutOptions{})
	return true, err
}

// isSoundIn says whether a copy has a report that is sound.
func (r *Repository) isSoundIn(ctx context.Context, key string, copied store.Store) bool {
	there, err := readObject(ctx, copied, key, maxReport+sealedOverhead)
	if err == nil {
		_, err = r.openReport(ctx, key, there)
	}
	return err == nil
}

// PinnedBy returns the reports that a note pins.
func (n *Note) PinnedBy() []Report {
	var p pinnedReports
	if n == nil || n.Kind != string(NoteReports) || json.Unmarshal([]byte(n.Text), &p) != nil {
		return nil
	}
	return p.Reports
}

// PinReports appends to the log the digests of the reports that no entry has pinned
// yet, so that they can neither be altered nor vanish unnoticed. known are those
// that are pinned as far as the caller knows, and gets to be all.
func (r *Repository) PinReports(ctx context.Context, known map[string]bool, agent Agent, now func() time.Time) (pinned int, err error) {
	list, err := r.Reports(ctx, known)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	if _, err := r.Read(ctx, 0, func(_ *State, e *Entry) error {
		for _, x := range e.Note.PinnedBy() {
			known[x.Key] = true
		}
		return nil
	}); err != nil {
		return 0, err
	}
	if list = slices.DeleteFunc(list, func(x Report) bool { return known[x.Key] }); len(list) == 0 {
		return 0, nil
	}
	log, err := r.OpenLog(ctx, now)
	if err != nil {
		return 0, err
	}
	log.Agent = &agent
	for chunk := range slices.Chunk(list, pinAtOnce) {
		note, err := NewNote(string(NoteReports), pinnedReports{chunk})
		if err != nil {
			return pinned, err
		}
		if _, err := log.Append(ctx, func(*State) (*Entry, error) { return &Entry{Time: now().UnixMilli(), Note: note}, nil }); err != nil {
			return pinned, err
		}
		for _, x := range chunk {
			known[x.Key] = true
			pinned++
		}
	}
	return pinned, nil
}
