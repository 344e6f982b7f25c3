package v1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func timeout(set *metav1.Duration) time.Duration {
	if set == nil {
		return DefaultTimeout
	}

	return set.Duration
}
