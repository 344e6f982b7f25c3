package cluster

import (
	"context"
	"errors"
)

type node struct{}

func (n *node) kill() error                        { return nil }
func (c *Cluster) startNode(context.Context) error { return nil }
func (c *Cluster) joinNode(context.Context) error  { return nil }
func (s *slot) clearNode() error                   { return nil }

// NodeSupport tells.
func NodeSupport() error { return errors.New("not yet") }
