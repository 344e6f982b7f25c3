package v1_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weir-dev/weir/api/kustomize/v1"
)

func TestDurations(t *testing.T) {
	d := func(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

	cases := map[string]struct {
		reason      string
		spec        v1.KustomizationSpec
		wantTimeout time.Duration
		wantRetry   time.Duration
	}{
		"FromInterval": {
			reason:      "Both follow the interval.",
			spec:        v1.KustomizationSpec{Interval: *d(10 * time.Minute)},
			wantTimeout: 9*time.Minute + 30*time.Second,
			wantRetry:   10 * time.Minute,
		},
		"ShortInterval": {
			reason:      "The timeout is never so short that nothing can become healthy.",
			spec:        v1.KustomizationSpec{Interval: *d(40 * time.Second)},
			wantTimeout: 30 * time.Second,
			wantRetry:   40 * time.Second,
		},
		"Set": {
			reason:      "What is set counts.",
			spec:        v1.KustomizationSpec{Interval: *d(time.Hour), Timeout: d(time.Minute), RetryInterval: d(2 * time.Minute)},
			wantTimeout: time.Minute,
			wantRetry:   2 * time.Minute,
		},
		"SetTooShort": {
			reason:      "The least timeout holds for one that is set.",
			spec:        v1.KustomizationSpec{Interval: *d(time.Hour), Timeout: d(time.Second)},
			wantTimeout: 30 * time.Second,
			wantRetry:   time.Hour,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			k := &v1.Kustomization{Spec: tc.spec}

			if got := k.GetTimeout(); got != tc.wantTimeout {
				t.Errorf("%s\ntimeout is %s, want %s", tc.reason, got, tc.wantTimeout)
			}

			if got := k.GetRetryInterval(); got != tc.wantRetry {
				t.Errorf("%s\nretry interval is %s, want %s", tc.reason, got, tc.wantRetry)
			}
		})
	}
}

func TestPolicies(t *testing.T) {
	k := &v1.Kustomization{}
	if got := k.GetDeletionPolicy(); got != v1.DeletionPolicyMirrorPrune {
		t.Errorf("default deletion policy is %q", got)
	}

	k.Spec.DeletionPolicy = v1.DeletionPolicyOrphan
	if got := k.GetDeletionPolicy(); got != v1.DeletionPolicyOrphan {
		t.Errorf("deletion policy is %q, want that of the spec", got)
	}

	p := &v1.PostBuild{}
	if got := p.GetSubstituteStrategy(); got != v1.SubstituteWithVariables {
		t.Errorf("default substitute strategy is %q", got)
	}

	p.SubstituteStrategy = v1.SubstituteAlways
	if got := p.GetSubstituteStrategy(); got != v1.SubstituteAlways {
		t.Errorf("substitute strategy is %q, want that of the spec", got)
	}
}
