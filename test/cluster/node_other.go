//go:build !linux

package cluster

import (
	"errors"
	"syscall"
)

// NodeSupport says why there is no node here.
func NodeSupport() error { return errors.New("a node needs Linux") }

func isolated() *syscall.SysProcAttr { return detached() }

func layered(string) bool { return false }

func childrenOf(int) ([]Process, error) { return nil, errors.ErrUnsupported }

func (s *slot) makeCgroup() error { return errors.ErrUnsupported }

func (s *slot) clearNode() error { return nil }
