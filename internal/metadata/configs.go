package metadata

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

// Configs are settings by resource and name. A nil value is not readable.
type Configs map[string]map[string]*string

func readConfigs(ctx context.Context, c *kafka.Cluster, t kafka.ResourceType) (Content, error) {
	all, err := c.Configs(ctx, t)
	if err != nil {
		return nil, err
	}
	configs := make(Configs, len(all))
	for resource, entries := range all {
		configs[resource] = make(map[string]*string, len(entries))
		for _, e := range entries {
			configs[resource][e.Name] = e.Value
		}
	}
	return configs, nil
}

// keepAbsent takes over settings of brokers that are down.
func (c Configs) keepAbsent(old Configs, up []kafka.Broker) {
	for name, settings := range old {
		if name != "" && !slices.ContainsFunc(up, func(b kafka.Broker) bool { return strconv.Itoa(int(b.ID)) == name }) {
			c[name] = settings
		}
	}
}

// Len implements Content.
func (c Configs) Len() int { return len(c) }

// Settings implements Content. The settings of all brokers have no object.
func (c Configs) Settings() []Setting {
	list := []Setting{}
	for _, resource := range slices.Sorted(maps.Keys(c)) {
		for _, name := range slices.Sorted(maps.Keys(c[resource])) {
			s := Setting{Object: resource, Name: name, Secret: c[resource][name] == nil}
			if !s.Secret {
				s.Value = *c[resource][name]
			}
			list = append(list, s)
		}
	}
	return list
}
