package metadata

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

// QuotaList are all client quotas, by entity.
type QuotaList []Quota

// Quota is the JSON form of what one entity is limited to. A nil name stands
// for the default.
type Quota struct {
	Entity map[string]*string `json:"entity"`
	Values map[string]float64 `json:"values"`
}

func readQuotas(ctx context.Context, c *kafka.Cluster) (Content, error) {
	quotas, err := c.Quotas(ctx)
	if err != nil {
		return nil, err
	}
	list := make(QuotaList, len(quotas))
	for i, q := range quotas {
		list[i] = Quota{Entity: make(map[string]*string), Values: q.Values}
		for _, e := range q.Entity {
			list[i].Entity[e.Type] = e.Name
		}
	}
	slices.SortFunc(list, func(a, b Quota) int { return strings.Compare(a.written(), b.written()) })
	return list, nil
}

// written is the entity as its JSON has it.
func (q Quota) written() string {
	text, _ := encode(q.Entity) // strings always can be
	return text
}

// Object names the entity for people.
func (q Quota) Object() string {
	var parts []string
	for _, t := range slices.Backward(slices.Sorted(maps.Keys(q.Entity))) { // "user" before "client-id", as everybody says it
		name := "<default>"
		if n := q.Entity[t]; n != nil {
			name = strconv.Quote(*n)
		}
		parts = append(parts, t+"="+name)
	}
	return strings.Join(parts, " ")
}

// Kafka returns the quota as package kafka has it.
func (q Quota) Kafka() kafka.Quota {
	k := kafka.Quota{Values: q.Values}
	for _, t := range slices.Sorted(maps.Keys(q.Entity)) {
		k.Entity = append(k.Entity, kafka.QuotaEntity{Type: t, Name: q.Entity[t]})
	}
	return k
}

// Len implements Content.
func (l QuotaList) Len() int { return len(l) }

// Settings implements Content.
func (l QuotaList) Settings() []Setting {
	list := []Setting{}
	for _, q := range l {
		for _, name := range slices.Sorted(maps.Keys(q.Values)) {
			list = append(list, Setting{Object: q.Object(), Name: name, Value: strconv.FormatFloat(q.Values[name], 'f', -1, 64)})
		}
	}
	return list
}
