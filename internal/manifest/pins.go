package manifest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
)

// PinPrefix is what the keys of all restore pins begin with.
const PinPrefix = "pins/"

// maxPin bounds the object of a pin.
const maxPin = 64 << 10

// PinStale is after how long a pin counts no more that nobody has refreshed, and
// PinRefresh how often that is done: a restore that was killed holds nothing back for long,
// and one whose store does not answer for some time is none the worse.
const (
	PinStale   = time.Hour
	PinRefresh = 5 * time.Minute
)

// Pin says that somebody reads what the log up to an entry says. What later entries
// remove must not be deleted as long as it is in force. It has no names of the source's.
type Pin struct {
	ID        string    `json:"-"`
	Entry     uint64    `json:"entry"` // the last one of the log when it began
	Point     uint64    `json:"point"` // that is restored, 0 as long as that is not known
	Program   string    `json:"program"`
	Host      string    `json:"host,omitempty"` // not in an encrypted repository, like Principal
	Principal string    `json:"principal,omitempty"`
	Begun     time.Time `json:"begun"`
	Ended     bool      `json:"ended"`

	Refreshed time.Time `json:"-"` // by the clock of the store
	keys      []string
}

// Stale says whether nobody has refreshed the pin for so long that its owner is
// taken for dead.
func (p *Pin) Stale(now time.Time) bool { return now.Sub(p.Refreshed) > PinStale }

// Holds says whether the pin keeps what an entry has removed from being deleted.
func (p *Pin) Holds(removal uint64, now time.Time) bool {
	return !p.Ended && !p.Stale(now) && removal > p.Entry
}

// NewPin returns one for somebody who is about to read the log. It is not in force
// before it is put.
func (r *Repository) NewPin(ctx context.Context, who Agent, now time.Time) (*Pin, error) {
	last, err := r.Last(ctx)
	if err != nil {
		return nil, err
	}
	p := &Pin{ID: NewID().String(), Entry: last, Program: who.Program, Begun: now.UTC()}
	if !r.Encrypted {
		p.Host, p.Principal = who.Host, who.Principal
	}
	return p, nil
}

// PutPin puts the pin in force, or refreshes it: each time as an object of its own,
// so that nobody needs a right but to create some.
func (r *Repository) PutPin(ctx context.Context, p *Pin) error {
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	key := fmt.Sprintf("%s%s/%08d.json", PinPrefix, p.ID, len(p.keys)+1)
	if _, err := r.store.Put(ctx, key, bytes.NewReader(append(b, '\n')), store.PutOptions{IfAbsent: true}); err != nil && !errors.Is(err, store.ErrExists) {
		return fmt.Errorf("put %s: %w", key, err)
	}
	p.keys = append(p.keys, key)
	return nil
}

// DropPin deletes the pin's objects.
func (r *Repository) DropPin(ctx context.Context, p *Pin) error {
	if err := r.store.Delete(ctx, p.keys...); err != nil {
		return fmt.Errorf("delete pin %s: %w", p.ID, err)
	}
	return nil
}

var pinKey = regexp.MustCompile(`^pins/([0-9a-f]{32})/(\d{8,})\.json$`)

// Pins returns the pins that are there, by id. One that nobody can read holds
// everything back, as long as it is not stale.
func (r *Repository) Pins(ctx context.Context) ([]Pin, error) {
	found := make(map[string]*Pin)
	newest := make(map[string]int)
	if err := r.store.List(ctx, PinPrefix, func(i store.Info) error {
		m := pinKey.FindStringSubmatch(i.Key)
		if m == nil {
			return nil
		}
		p := found[m[1]]
		if p == nil {
			p = &Pin{ID: m[1]}
			found[m[1]] = p
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			return nil
		}
		if p.keys = append(p.keys, i.Key); n > newest[p.ID] {
			newest[p.ID] = n
		}
		if i.Modified.After(p.Refreshed) {
			p.Refreshed = i.Modified
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("list the pins: %w", err)
	}
	pins := make([]Pin, 0, len(found))
	for _, p := range found {
		there, err := r.readPin(ctx, p, fmt.Sprintf("%08d.json", newest[p.ID]))
		if err != nil {
			return nil, err
		}
		if there {
			pins = append(pins, *p)
		}
	}
	slices.SortFunc(pins, func(a, b Pin) int { return strings.Compare(a.ID, b.ID) })
	return pins, nil
}

// readPin reads the newest object of a pin.
func (r *Repository) readPin(ctx context.Context, p *Pin, name string) (there bool, err error) {
	key := path.Join(PinPrefix, p.ID, name)
	b, err := readObject(ctx, r.store, key, maxPin)
	switch {
	case errors.Is(err, store.ErrNotExist): // its owner has just ended
		return false, nil
	case errors.Is(err, ErrDamaged):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("read %s: %w", key, err)
	}
	var content Pin
	if json.Unmarshal(b, &content) == nil {
		content.ID, content.keys, content.Refreshed = p.ID, p.keys, p.Refreshed
		*p = content
	}
	return true, nil
}
