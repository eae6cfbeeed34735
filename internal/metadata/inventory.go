package metadata

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

// Users are the SCRAM users, with the iterations of their mechanisms.
type Users map[string]map[string]int32

func readScramUsers(ctx context.Context, c *kafka.Cluster) (Content, error) {
	credentials, err := c.ScramCredentials(ctx)
	if err != nil {
		return nil, err
	}
	users := make(Users)
	for _, k := range credentials {
		if users[k.User] == nil {
			users[k.User] = make(map[string]int32)
		}
		users[k.User][k.Mechanism] = k.Iterations
	}
	return users, nil
}

// Len implements Content.
func (u Users) Len() int { return len(u) }

// Settings implements Content.
func (u Users) Settings() []Setting {
	list := []Setting{}
	for _, user := range slices.Sorted(maps.Keys(u)) {
		for _, mechanism := range slices.Sorted(maps.Keys(u[user])) {
			list = append(list, Setting{Object: user, Name: mechanism, Value: strconv.Itoa(int(u[user][mechanism]))})
		}
	}
	return list
}

// Levels are the finalized features.
type Levels map[string]int16

func readFeatures(ctx context.Context, c *kafka.Cluster) (Content, error) {
	levels, err := c.Features(ctx)
	if err != nil {
		return nil, err
	}
	return Levels(levels), nil
}

// Len implements Content.
func (l Levels) Len() int { return len(l) }

// Settings implements Content.
func (l Levels) Settings() []Setting {
	list := []Setting{}
	for _, feature := range slices.Sorted(maps.Keys(l)) {
		list = append(list, Setting{Object: feature, Value: strconv.Itoa(int(l[feature]))})
	}
	return list
}

// maxIDs bounds the inventory of transactional ids: applications may make a new
// one for each of their threads and restarts.
const maxIDs = 10000

// IDs are transactional ids. They come and go by themselves, so that nothing is
// ever set from them.
type IDs struct {
	Capped bool     `json:"capped"` // there were more
	IDs    []string `json:"ids"`
}

func readTransactionalIDs(ctx context.Context, c *kafka.Cluster) (Content, error) {
	ids, err := c.TransactionalIDs(ctx)
	if err != nil {
		return nil, err
	}
	return IDs{Capped: len(ids) > maxIDs, IDs: ids[:min(len(ids), maxIDs)]}, nil
}

// Len implements Content.
func (l IDs) Len() int { return len(l.IDs) }

// Settings implements Content.
func (l IDs) Settings() []Setting { return nil }
