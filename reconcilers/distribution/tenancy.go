package distribution

import (
	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// fitTenancy confines what users apply to their namespaces and service accounts.
func (p *plan) fitTenancy() {
	if !p.cluster.Multitenant {
		return
	}
	for _, w := range p.workloads {
		if w.plays(fluxv1.KustomizeController, fluxv1.HelmController, fluxv1.NotificationController,
			fluxv1.ImageReflectorController, fluxv1.ImageAutomationController, fluxv1.SourceWatcher) {
			w.setArg("no-cross-namespace-refs", "true")
		}
		if w.plays(fluxv1.KustomizeController) {
			w.setArg("no-remote-bases", "true")
		}
		if w.plays(fluxv1.KustomizeController, fluxv1.HelmController) {
			w.setArg("default-service-account", p.cluster.TenantDefaultServiceAccount)
		}
	}
}

// fitIdentity says whether objects may name service accounts whose cloud identity they use, and which one they use if they
// name none; and lets appliers take artifacts of other controllers where there is one.
func (p *plan) fitIdentity() {
	for _, w := range p.workloads {
		if p.has(fluxv1.SourceWatcher) && w.plays(fluxv1.KustomizeController, fluxv1.HelmController) {
			w.setGate("ExternalArtifact", true)
		}
		if w.plays(fluxv1.SourceController, fluxv1.KustomizeController, fluxv1.HelmController,
			fluxv1.NotificationController, fluxv1.ImageReflectorController, fluxv1.ImageAutomationController) {
			w.setGate("ObjectLevelWorkloadIdentity", p.cluster.ObjectLevelWorkloadIdentity)
		}
		if p.cluster.MultitenantWorkloadIdentity {
			p.confineIdentity(w)
		}
	}
}

// confineIdentity sets the identities of objects that name none. The flag --default-service-account means the account to
// impersonate in the appliers and the one whose cloud identity to use in the others; where one process is both, the
// latter has a flag of its own.
func (p *plan) confineIdentity(w *workload) {
	applies := w.plays(fluxv1.KustomizeController, fluxv1.HelmController)
	if w.plays(fluxv1.SourceController, fluxv1.NotificationController,
		fluxv1.ImageReflectorController, fluxv1.ImageAutomationController) {
		flag := "default-service-account"
		if applies {
			flag = "default-workload-identity-service-account"
		}
		w.setArg(flag, p.cluster.TenantDefaultServiceAccount)
	}
	if w.plays(fluxv1.KustomizeController) {
		w.setArg("default-decryption-service-account", p.cluster.TenantDefaultDecryptionServiceAccount)
	}
	if applies {
		w.setArg("default-kubeconfig-service-account", p.cluster.TenantDefaultKubeConfigServiceAccount)
	}
}
