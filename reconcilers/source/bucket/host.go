package bucket

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// errInsecure says that a token would go over the wire as it is.
var errInsecure = errors.New("the credentials of an identity need HTTPS")

// The domains of the storages to which the credentials of an identity may go: whoever else got them could use them elsewhere.
// Those of a Secret may go where its owner sends them.

func awsHosts() []string {
	return []string{
		"amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "api.aws", "api.amazonwebservices.com.cn",
		"c2s.ic.gov", "sc2s.sgov.gov", "cloud.adc-e.uk", "csp.hci.ic.gov",
	}
}

func azureHosts() []string {
	return []string{
		"blob.core.windows.net", "blob.core.chinacloudapi.cn", "blob.core.usgovcloudapi.net", "blob.storage.azure.net",
		"dfs.core.windows.net", "dfs.core.chinacloudapi.cn", "dfs.core.usgovcloudapi.net",
	}
}

func gcpHosts() []string { return []string{"googleapis.com"} }

// checkHost refuses URLs that are not HTTPS to a host in one of the domains.
func checkHost(raw string, domains []string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return errors.New("it is no URL")
	}

	if u.Scheme != "https" {
		return errInsecure
	}

	host := strings.ToLower(u.Hostname())
	for _, domain := range domains {
		if strings.HasSuffix(host, "."+domain) && (u.Port() == "" || u.Port() == "443") {
			return nil
		}
	}

	return fmt.Errorf("host %q is none of the provider's storage", u.Host)
}
