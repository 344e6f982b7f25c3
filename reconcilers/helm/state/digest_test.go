package state_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"helm.sh/helm/v3/pkg/release"
	helmtime "helm.sh/helm/v3/pkg/time"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

// sha returns the SHA-256 of a line.
func sha(line string) digest.Digest {
	sum := sha256.Sum256([]byte(line + "\n"))

	return digest.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

func TestDigest(t *testing.T) {
	hooks := func(all ...*release.Hook) func(*release.Release) {
		return func(r *release.Release) { r.Hooks = all }
	}

	test := &release.Hook{Name: "test", Events: []release.HookEvent{release.HookPostInstall, release.HookTest}}
	job := &release.Hook{
		Name: "job", Kind: "Job", Path: "templates/job.yaml", Manifest: "a <b>", Events: []release.HookEvent{release.HookPreInstall}, Weight: -5,
		DeletePolicies:    []release.HookDeletePolicy{release.HookSucceeded},
		OutputLogPolicies: []release.HookOutputLogPolicy{release.HookOutputOnFailed},
		LastRun:           release.HookExecution{StartedAt: helmtime.Time{Time: deployedAt}, Phase: release.HookPhaseRunning},
	}

	const (
		start = `{"name":"app","version":1,"info":{"first_deployed":"2026-11-20T10:00:00.123456789Z","last_deployed":"2026-11-20T10:00:00.123456789Z",` +
			`"status":"deployed"},"chartMetadata":{"name":"podinfo","version":"1.0.0","appVersion":"1"},"config":{"k":"v"},` +
			`"manifest":"kind: ConfigMap\n","hooks":`
		end = `,"namespace":"ns"}`
	)

	cases := map[string]struct {
		reason  string
		release *release.Release
		oci     string
		want    digest.Digest
	}{
		"Empty": {
			"nothing is known", &release.Release{}, "",
			sha(`{"name":"","version":0,"info":{},"chartMetadata":{},"config":null,"manifest":"","hooks":null,"namespace":""}`),
		},
		"Plain":  {"as Flux writes it", stored(1, release.StatusDeployed), "", sha(start + "null" + end)},
		"Tests":  {"tests are no part of it", stored(1, release.StatusDeployed, hooks(test, test)), "", sha(start + "null" + end)},
		"Digest": {"the chart has one", stored(1, release.StatusDeployed), "sha256:abc", sha(start + "null" + `,"namespace":"ns","ociDigest":"sha256:abc"}`)},
		"Hooks": {
			"hooks are, with times as Helm 4 writes them", stored(1, release.StatusDeployed, hooks(test, job)), "",
			sha(start + `[{"name":"job","kind":"Job","path":"templates/job.yaml","manifest":"a \u003cb\u003e","events":["pre-install"],` +
				`"last_run":{"started_at":"2026-11-20T10:00:00.123456789Z","phase":"Running"},"weight":-5,` +
				`"delete_policies":["hook-succeeded"],"output_log_policies":["hook-failed"]}]` + end),
		},
		"NoConfig": {
			"no values are null", stored(1, release.StatusDeployed, func(r *release.Release) { r.Config, r.Chart, r.Info = map[string]any{}, nil, nil }), "",
			sha(`{"name":"app","version":1,"info":{},"chartMetadata":{},"config":null,"manifest":"kind: ConfigMap\n","hooks":null,"namespace":"ns"}`),
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got, err := state.Digest(tc.release, tc.oci, digest.SHA256); err != nil || got != tc.want {
				t.Errorf("%s: got %s, %v, want %s", tc.reason, got, err, tc.want)
			}
		})
	}

	if _, err := state.Digest(&release.Release{}, "", "md5"); err == nil {
		t.Error("an unknown algorithm makes a digest")
	}
}

func TestVerify(t *testing.T) {
	r := stored(1, release.StatusDeployed)

	for _, a := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
		history, err := state.Observe(nil, r, state.Made{Action: v2.ActionInstall, OCIDigest: "sha256:abc"}, a)
		if err != nil {
			t.Fatal(err)
		}

		s := history[0]
		if !state.Verify(&s, r) {
			t.Errorf("%s: does not verify", a)
		}

		if s.OCIDigest = ""; state.Verify(&s, r) {
			t.Errorf("%s: verifies another chart", a)
		}
	}

	again := stored(1, release.StatusDeployed)
	again.Info.LastDeployed = helmtime.Time{Time: deployedAt.Add(time.Nanosecond)}

	if s := snapshot(t, r); state.Verify(&s, again) {
		t.Error("verifies a release of another time")
	}
}

func TestObserveRendering(t *testing.T) {
	obj := helmRelease()
	obj.Spec.PostRenderers = []v2.PostRenderer{{Kustomize: &v2.Kustomize{Images: []meta.Image{{Name: "a", NewTag: "1"}}}}}
	obj.Spec.CommonMetadata = &meta.CommonMetadata{Labels: map[string]string{"b": "c"}}

	state.ObserveRendering(obj)

	if got, want := obj.Status.ObservedPostRenderersDigest, sha(`[{"kustomize":{"images":[{"name":"a","newTag":"1"}]}}]`); got != want.String() {
		t.Errorf("post-renderers: got %s, want %s", got, want)
	}

	if got, want := obj.Status.ObservedCommonMetadataDigest, sha(`{"labels":{"b":"c"}}`); got != want.String() {
		t.Errorf("common metadata: got %s, want %s", got, want)
	}

	obj.Spec.PostRenderers, obj.Spec.CommonMetadata = nil, nil
	if state.ObserveRendering(obj); obj.Status.ObservedPostRenderersDigest != "" || obj.Status.ObservedCommonMetadataDigest != "" {
		t.Errorf("what is not there has a digest: %v", obj.Status)
	}
}
