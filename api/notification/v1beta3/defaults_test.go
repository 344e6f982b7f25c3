package v1beta3_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/notification/v1beta3"
)

func TestDefaults(t *testing.T) {
	provider := &v1beta3.Provider{}
	if got := provider.GetTimeout(); got != 15*time.Second {
		t.Errorf("default timeout is %s, want 15s", got)
	}

	provider.Spec.Timeout = &metav1.Duration{Duration: time.Minute}
	if got := provider.GetTimeout(); got != time.Minute {
		t.Errorf("timeout is %s, want that of the spec", got)
	}

	for set, want := range map[string]string{"": "info", "error": "error"} {
		alert := &v1beta3.Alert{Spec: v1beta3.AlertSpec{EventSeverity: set}}
		if got := alert.GetEventSeverity(); got != want {
			t.Errorf("severity %q means %q, want %q", set, got, want)
		}
	}
}
