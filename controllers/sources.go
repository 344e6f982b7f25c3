package controllers

import (
	"net/http"

	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source/git"
)

// gitWorkers is how many GitRepositories run at a time. Most of a run is waiting for the server.
const gitWorkers = 10

// setupSources adds the controllers of the sources that this version reconciles. They run when their spec changes, when they
// are asked to, and at their interval.
func setupSources(p *Process) error {
	store, err := p.sharedStorage()
	if err != nil {
		return err
	}

	remotes := git.NewRemotes(git.RemotesOptions{
		Transports: &ingest.Transports{Proxy: http.ProxyFromEnvironment, Allow: ingest.RefuseLinkLocal},
		SSHKeyExchanges: p.SSHKeyExchanges, SSHHostKeys: p.SSHHostKeys,
	})

	return add(p, git.Kind(git.Deps{Store: store, Secrets: p, Remotes: remotes}), newWaker(), false, gitWorkers)
}
