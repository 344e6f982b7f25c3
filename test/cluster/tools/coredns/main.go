// Command coredns answers names inside a test cluster: CoreDNS with the plugins
// which that takes and no more, so that it builds and starts quickly.
package main

import (
	"github.com/coredns/coredns/coremain"

	// Each plugin registers itself; the order in which they run is CoreDNS's own.
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() { coremain.Run() }
