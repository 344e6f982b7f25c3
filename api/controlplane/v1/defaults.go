package v1

import "time"

// Intervals and timeouts of objects whose annotations set none.
const (
	DefaultInstanceInterval      = time.Hour
	DefaultArtifactInterval      = 10 * time.Minute
	DefaultResourceSetInterval   = time.Hour
	DefaultInputProviderInterval = 10 * time.Minute
	DefaultTimeout               = 5 * time.Minute
	DefaultInputProviderTimeout  = 2 * time.Minute
)

// durationFrom reads a Go duration from an annotation. What is missing, malformed or not positive is the default.
func durationFrom(annotations map[string]string, key string, byDefault time.Duration) time.Duration {
	d, err := time.ParseDuration(annotations[key])
	if err != nil || d <= 0 {
		return byDefault
	}

	return d
}
