package access

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
)

// ServerVersion returns the version of the API server.
func (c *Client) ServerVersion(ctx context.Context) (*version.Info, error) {
	raw, err := c.do(ctx, schema.GroupKind{}, c.request("GET").AbsPath("version"))
	if err != nil {
		return nil, err
	}
	v := &version.Info{}
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("decode version: %w", err)
	}
	return v, nil
}
