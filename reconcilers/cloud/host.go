package cloud

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// checkGit refuses what is no Git server of the provider: whoever serves it would get the credentials.
func checkGit(provider string, u *url.URL) error {
	host := strings.ToLower(u.Hostname())
	known := false

	switch provider {
	case AWS:
		known = regexp.MustCompile(`^git-codecommit(-fips)?\.[a-z]+(-[a-z]+)+-[0-9]+\.amazonaws\.com(\.cn)?$`).MatchString(host)
	case Azure:
		known = host == "dev.azure.com" || regexp.MustCompile(`^[a-z0-9-]+\.visualstudio\.com$`).MatchString(host)
	}

	if !known || u.Scheme != "https" || u.Port() != "" && u.Port() != "443" {
		return fmt.Errorf("provider %q does not fit the URL: %q over %q is none of its Git servers", provider, u.Host, u.Scheme)
	}

	return nil
}

// CheckSTSEndpoint refuses URLs that are no security token service of AWS: whoever serves it gets the token by which a workload
// proves who it is.
func CheckSTSEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" || u.Host != u.Hostname() || u.User != nil || u.Opaque != "" ||
		strings.TrimSuffix(endpoint, u.Host) != "https://" {
		return fmt.Errorf("STS endpoint %q is no https://<host> of AWS", redacted(u))
	}

	const pattern = `^(sts|([a-z0-9-]+\.)?sts(-fips)?\.[a-z]+(-[a-z]+)+-[0-9]+(\.vpce)?)\.amazonaws\.com$`
	if !regexp.MustCompile(pattern).MatchString(u.Host) {
		return fmt.Errorf("STS endpoint %q is none of AWS", u.Host)
	}

	return nil
}

func redacted(u *url.URL) string {
	if u == nil {
		return "invalid URL"
	}

	return u.Host
}
