package kafka

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ResourceType is a type of things that have configs.
type ResourceType int8

// The types besides topics.
const (
	BrokerResource        = ResourceType(kmsg.ConfigResourceTypeBroker) // named by id; "" is the default of all brokers
	ClientMetricsResource = ResourceType(kmsg.ConfigResourceTypeClientMetrics)
	GroupResource         = ResourceType(kmsg.ConfigResourceTypeGroupConfig)

	topicResource = ResourceType(kmsg.ConfigResourceTypeTopic)
)

func (t ResourceType) String() string {
	switch t {
	case BrokerResource:
		return "broker"
	case ClientMetricsResource:
		return "client metrics"
	case GroupResource:
		return "group"
	}
	return "topic"
}

// listed is the version of ListConfigResources that lists a type.
func (t ResourceType) listed() int16 {
	if t == ClientMetricsResource {
		return 0
	}
	return 1
}

// Configs reads the dynamic settings that were made on the resources of a type
// themselves, by name of the resource. Those without any are not in the map;
// entries are sorted by name. Of brokers, only those are asked that are up. It needs DescribeConfigs on
// the cluster, and for GroupResource on each group with settings, too. The error matches
// ErrUnsupported if the cluster cannot list resources of the type.
func (c *Cluster) Configs(ctx context.Context, kind ResourceType) (map[string][]ConfigEntry, error) {
	names, err := c.resources(ctx, kind)
	if err != nil {
		return nil, fmt.Errorf("list %s configs: %w", kind, err)
	}
	all := make(map[string][]ConfigEntry)
	for batch := range slices.Chunk(names, configBatch) {
		var refused error
		err := c.describeConfigs(ctx, kind, batch, func(name string, configs []kmsg.DescribeConfigsResponseResourceConfig, err error) {
			if err != nil {
				refused = err
			}
			if own := ownConfigs(kind, name, configs); len(own) > 0 {
				all[name] = own
			}
		})
		if err == nil {
			err = refused
		}
		if err != nil {
			return nil, fmt.Errorf("read %s configs: %w", kind, err)
		}
	}
	return all, nil
}

// ownConfigs picks the settings that were made on the resource itself.
func ownConfigs(kind ResourceType, name string, configs []kmsg.DescribeConfigsResponseResourceConfig) []ConfigEntry {
	source := kmsg.ConfigSourceDynamicBrokerConfig
	switch {
	case kind == BrokerResource && name == "":
		source = kmsg.ConfigSourceDynamicDefaultBrokerConfig
	case kind == ClientMetricsResource:
		source = kmsg.ConfigSourceClientMetricsConfig
	case kind == GroupResource:
		source = kmsg.ConfigSourceGroupConfig
	}
	var own []ConfigEntry
	for _, e := range configs {
		if e.Source == source {
			own = append(own, ConfigEntry{Name: e.Name, Value: e.Value})
		}
	}
	slices.SortFunc(own, func(a, b ConfigEntry) int { return strings.Compare(a.Name, b.Name) })
	return own
}

// resources names what there is of a type.
func (c *Cluster) resources(ctx context.Context, kind ResourceType) ([]string, error) {
	if kind == BrokerResource {
		if _, err := c.metadata(ctx, []string{}, false); err != nil {
			return nil, err
		}
		names := []string{""}
		for _, b := range c.Brokers() {
			names = append(names, strconv.Itoa(int(b.ID)))
		}
		return names, nil
	}
	req := kmsg.NewPtrListConfigResourcesRequest()
	if err := c.require(ctx, req, kind.listed()); err != nil {
		return nil, err
	}
	req.ResourceTypes = []int8{int8(kind)}
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return nil, requestError(ctx, c.cl, err)
	}
	if resp.ErrorCode != 0 {
		return nil, brokerError(resp.ErrorCode, nil, denied{operation: "DescribeConfigs"})
	}
	var names []string
	for _, r := range resp.ConfigResources {
		if r.Type == int8(kind) { // in version 0 there is no other
			names = append(names, r.Name)
		}
	}
	return names, nil
}
