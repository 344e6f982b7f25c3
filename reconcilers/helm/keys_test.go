package helm_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/helm"
)

func TestConfigKeys(t *testing.T) {
	t.Parallel()

	values := []meta.ValuesReference{{Kind: "ConfigMap", Name: "defaults"}, {Kind: "Secret", Name: "passwords", Optional: true}}

	for name, tc := range map[string]struct {
		reason string
		spec   v2.HelmReleaseSpec
		kind   string
		want   []string
	}{
		"None": {reason: "Nothing is named.", kind: "Secret"},
		"ConfigMaps": {
			reason: "Those with values count.", spec: v2.HelmReleaseSpec{ValuesFrom: values}, kind: "ConfigMap", want: []string{"defaults"},
		},
		"Secrets": {
			reason: "Optional ones too, and that of the kubeconfig.", kind: "Secret", want: []string{"cluster", "passwords"},
			spec: v2.HelmReleaseSpec{
				ValuesFrom: values, KubeConfig: &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "cluster"}},
			},
		},
		"Cloud": {
			reason: "A cluster of a cloud is named by a ConfigMap.", kind: "ConfigMap", want: []string{"cluster", "defaults"},
			spec: v2.HelmReleaseSpec{
				ValuesFrom: values, KubeConfig: &meta.KubeConfigReference{ConfigMapRef: &meta.LocalObjectReference{Name: "cluster"}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			obj := &v2.HelmRelease{Spec: tc.spec}
			obj.Namespace = "team"

			var want []types.NamespacedName
			for _, n := range tc.want {
				want = append(want, types.NamespacedName{Namespace: "team", Name: n})
			}

			if diff := cmp.Diff(want, helm.ConfigKeys(obj, tc.kind)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
