package cloud

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Main runs the tests of a package with a cloud that all of them share, and returns the exit code. The process trusts the
// authority of the cloud, which has to be known before the first connection is made, and nothing of the machine that could be a
// credential counts.
func Main(m *testing.M, set func(*Cloud)) int {
	c, err := New(context.Background())
	if err != nil {
		return fail(err)
	}
	defer c.Close()

	dir, err := os.MkdirTemp("", "cloud-test-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a test

	if err := isolate(dir, c.Authority.PEM); err != nil {
		return fail(err)
	}

	set(c)

	return m.Run()
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)

	return 1
}

// isolate sets the environment of the process.
func isolate(dir string, authority []byte) error {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")

		for _, prefix := range []string{"AWS_", "AZURE_", "GOOGLE_", "IDENTITY_", "MSI_"} {
			if strings.HasPrefix(name, prefix) {
				if err := os.Unsetenv(name); err != nil {
					return fmt.Errorf("unset %s: %w", name, err)
				}
			}
		}
	}

	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, authority, 0o600); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}

	for name, value := range map[string]string{
		"SSL_CERT_FILE": file, "SSL_CERT_DIR": dir, "HOME": dir, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}

	return nil
}
