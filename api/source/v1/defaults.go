package v1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

func timeout(set *metav1.Duration) time.Duration {
	if set == nil {
		return DefaultTimeout
	}

	return set.Duration
}

func provider(set string) string {
	if set == "" {
		return meta.ProviderGeneric
	}

	return set
}
