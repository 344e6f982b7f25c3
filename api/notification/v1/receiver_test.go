package v1_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weir-dev/weir/api/notification/v1"
)

func TestReceiver(t *testing.T) {
	receiver := &v1.Receiver{}
	if got := receiver.GetInterval(); got != 10*time.Minute {
		t.Errorf("default interval is %s, want 10m", got)
	}

	receiver.Spec.Interval = &metav1.Duration{Duration: time.Hour}
	if got := receiver.GetInterval(); got != time.Hour {
		t.Errorf("interval is %s, want that of the spec", got)
	}

	for set, want := range map[string]string{"": "notification-controller", "weir": "weir"} {
		if got := (&v1.OIDCProvider{Audience: set}).GetAudience(); got != want {
			t.Errorf("audience %q means %q, want %q", set, got, want)
		}
	}
}
