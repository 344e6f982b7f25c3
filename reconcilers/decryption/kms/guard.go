package kms

import (
	"fmt"
	"net/netip"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// RefuseLocal is an ingest.AllowAddr for addresses that files name: it refuses what ingest.RefuseLinkLocal does, and this machine.
func RefuseLocal(addr netip.Addr) error {
	if addr.Unmap().IsLoopback() {
		return fmt.Errorf("address %s is this machine", addr)
	}

	return ingest.RefuseLinkLocal(addr) //nolint:wrapcheck // it names the address
}
