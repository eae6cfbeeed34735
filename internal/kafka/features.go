package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Features reads the finalized feature levels of the cluster, such as that of
// metadata.version. Any principal may.
func (c *Cluster) Features(ctx context.Context) (map[string]int16, error) {
	resp, err := c.apiVersions(ctx)
	if err != nil {
		return nil, fmt.Errorf("read features: %w", err)
	}
	levels := make(map[string]int16, len(resp.FinalizedFeatures))
	for _, f := range resp.FinalizedFeatures {
		levels[f.Name] = f.MaxVersionLevel
	}
	return levels, nil
}

// apiVersions asks one of the brokers what it can do.
func (c *Cluster) apiVersions(ctx context.Context) (*kmsg.ApiVersionsResponse, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "offsite", "1" // brokers refuse empty ones
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return nil, requestError(ctx, c.cl, err)
	}
	if resp.ErrorCode != 0 {
		return nil, brokerError(resp.ErrorCode, nil, denied{})
	}
	return resp, nil
}

// require returns an error that matches ErrUnsupported unless the cluster knows
// the request in the given version.
func (c *Cluster) require(ctx context.Context, request kmsg.Request, version int16) error {
	resp, err := c.apiVersions(ctx)
	if err != nil {
		return err
	}
	for _, k := range resp.ApiKeys {
		if k.ApiKey == request.Key() && k.MaxVersion >= version {
			return nil
		}
	}
	return fmt.Errorf("%w: its brokers do not know %s in version %d", ErrUnsupported, kmsg.NameForKey(request.Key()), version)
}
