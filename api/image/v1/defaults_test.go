package v1_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weir-dev/weir/api/image/v1"
)

func TestScanTimeout(t *testing.T) {
	cases := map[string]struct {
		reason   string
		interval time.Duration
		timeout  *metav1.Duration
		want     time.Duration
	}{
		"Interval": {reason: "A scan may take as long as the interval.", interval: time.Minute, want: time.Minute},
		"Set":      {reason: "What is set counts.", interval: time.Minute, timeout: &metav1.Duration{Duration: time.Hour}, want: time.Hour},
		"TooShort": {reason: "No scan takes less than a second.", interval: time.Millisecond, want: time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			repo := &v1.ImageRepository{Spec: v1.ImageRepositorySpec{
				Interval: metav1.Duration{Duration: tc.interval}, Timeout: tc.timeout,
			}}
			if got := repo.GetTimeout(); got != tc.want {
				t.Errorf("%s\ntimeout is %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

func TestExclusionList(t *testing.T) {
	cases := map[string]struct {
		reason string
		set    []string
		want   []string
	}{
		"None":  {reason: "Signatures are left out.", want: []string{`^.*\.sig$`}},
		"Empty": {reason: "An empty list leaves nothing out.", set: []string{}, want: []string{}},
		"Set":   {reason: "A list replaces the default.", set: []string{"rc"}, want: []string{"rc"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			repo := &v1.ImageRepository{Spec: v1.ImageRepositorySpec{ExclusionList: tc.set}}
			if diff := cmp.Diff(tc.want, repo.GetExclusionList()); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestPolicyInterval(t *testing.T) {
	cases := map[string]struct {
		reason   string
		policy   string
		interval *metav1.Duration
		want     time.Duration
	}{
		"Unset":  {reason: "Without a look-up there is nothing to repeat."},
		"Once":   {reason: "One look-up is not repeated.", policy: "IfNotPresent", interval: &metav1.Duration{Duration: time.Hour}},
		"Always": {reason: "Look-ups are repeated.", policy: "Always", interval: &metav1.Duration{Duration: time.Hour}, want: time.Hour},
		"Zero":   {reason: "Nothing is repeated all the time.", policy: "Always", interval: &metav1.Duration{}, want: 10 * time.Minute},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			policy := &v1.ImagePolicy{Spec: v1.ImagePolicySpec{DigestReflectionPolicy: tc.policy, Interval: tc.interval}}
			if got := policy.GetInterval(); got != tc.want {
				t.Errorf("%s\ninterval is %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	type values struct{ Provider, Reflection, Alphabetical, Numerical, Update, SourceNamespace, Key string }

	of := func(r v1.ImageRepositorySpec, p v1.ImagePolicySpec, order string, a v1.ImageUpdateAutomationSpec, key string) values {
		automation := &v1.ImageUpdateAutomation{ObjectMeta: metav1.ObjectMeta{Namespace: "apps"}, Spec: a}

		return values{
			Provider:        (&v1.ImageRepository{Spec: r}).GetProvider(),
			Reflection:      (&v1.ImagePolicy{Spec: p}).GetDigestReflectionPolicy(),
			Alphabetical:    (&v1.AlphabeticalPolicy{Order: order}).GetOrder(),
			Numerical:       (&v1.NumericalPolicy{Order: order}).GetOrder(),
			Update:          automation.GetUpdate().Strategy,
			SourceNamespace: automation.GetSourceNamespace(),
			Key:             (&v1.SigningKey{Type: key}).GetType(),
		}
	}

	got := of(v1.ImageRepositorySpec{}, v1.ImagePolicySpec{}, "", v1.ImageUpdateAutomationSpec{}, "")
	if diff := cmp.Diff(values{"generic", "Never", "asc", "asc", "Setters", "apps", "gpg"}, got); diff != "" {
		t.Errorf("defaults (-want, +got):\n%s", diff)
	}

	got = of(v1.ImageRepositorySpec{Provider: "aws"}, v1.ImagePolicySpec{DigestReflectionPolicy: "Always"}, "desc",
		v1.ImageUpdateAutomationSpec{
			SourceRef: v1.CrossNamespaceSourceReference{Namespace: "fleet"},
			Update:    &v1.UpdateStrategy{Strategy: "Other"},
		}, "ssh")
	if diff := cmp.Diff(values{"aws", "Always", "desc", "desc", "Other", "fleet", "ssh"}, got); diff != "" {
		t.Errorf("values (-want, +got):\n%s", diff)
	}
}

func TestImageRef(t *testing.T) {
	for want, ref := range map[string]v1.ImageRef{
		"ghcr.io/a/b:1":          {Name: "ghcr.io/a/b", Tag: "1"},
		"ghcr.io/a/b:1@sha256:c": {Name: "ghcr.io/a/b", Tag: "1", Digest: "sha256:c"},
	} {
		if got := ref.String(); got != want {
			t.Errorf("image is %q, want %q", got, want)
		}
	}
}
