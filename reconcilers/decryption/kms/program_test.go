package kms_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/reconcilers/decryption/kms"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
	"github.com/weir-dev/weir/test/tool"
)

// TestRealFiles decrypts what the program sops has encrypted with the key services of the test.
func TestRealFiles(t *testing.T) {
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", cache)

	path, err := tool.SOPS().Build(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}

	v := newVault()
	keys := sky.Keys.Issue(time.Hour)
	sky.Tenant, sky.Secrets[tenant+"/"+clientID] = tenant, secret
	sky.Assumable[keeper], sky.KeyRoles[guarded] = true, keeper

	serviceKey, err := sky.NewServiceKey(mail)
	if err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	write := func(name string, content []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}

		return file
	}

	const plain = "token: hunter3\n"

	file := write("secret.yaml", []byte(plain))
	env := []string{
		"HTTPS_PROXY=" + sky.Proxy().String(), "SSL_CERT_FILE=" + write("ca.pem", sky.Authority.PEM),
		"AWS_EC2_METADATA_DISABLED=true", "AWS_ACCESS_KEY_ID=" + keys.AccessKey,
		"AWS_SECRET_ACCESS_KEY=" + keys.SecretKey, "AWS_SESSION_TOKEN=" + keys.SessionToken,
		"AZURE_TENANT_ID=" + tenant, "AZURE_CLIENT_ID=" + clientID, "AZURE_CLIENT_SECRET=" + secret,
		"GOOGLE_APPLICATION_CREDENTIALS=" + write("key.json", serviceKey), "SOPS_GCP_KMS_CLIENT_TYPE=rest",
		"VAULT_TOKEN=" + v.Token, "HOME=" + dir,
	}

	cases := map[string]struct {
		reason  string
		args    []string
		request kms.Request
		failing bool
	}{
		"AWS":        {"AWS KMS.", []string{"--kms", arn}, request("reader", nil), false},
		"AWSContext": {"With a context.", []string{"--kms", arn, "--encryption-context", "app:one,team:two"}, request("reader", nil), false},
		"AWSRole":    {"With a role.", []string{"--kms", guarded + "+" + keeper}, request("reader", nil), false},
		"AWSNobody":  {"Not for anybody.", []string{"--kms", arn}, request("nobody", nil), true},
		"Azure":      {"Azure Key Vault.", []string{"--azure-kv", vaultURL + "/keys/sops/1"}, request("reader", nil), false},
		"GCP":        {"Google Cloud KMS.", []string{"--gcp-kms", resource}, request("reader", nil), false},
		"Vault": {
			"Vault.", []string{"--hc-vault-transit", vaultAddress + "/v1/team/transit/keys/sops"},
			request("", map[string]string{"sops.vault-token": v.Token}), false,
		},
		"Several": {
			"Whoever can decrypts it.", []string{"--kms", arn, "--gcp-kms", resource, "--hc-vault-transit", vaultAddress + "/v1/transit/keys/sops"},
			request("nobody", map[string]string{"sops.gcp-kms": string(serviceKey)}), false,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), path, append(append([]string{"--disable-version-check", "--encrypt"}, tc.args...), file)...)
			cmd.Env = env

			var errors strings.Builder
			cmd.Stderr = &errors

			encrypted, err := cmd.Output()
			if err != nil {
				t.Fatalf("encrypt: %v: %s", err, errors.String())
			}

			k, err := services(t, newCluster(t)).For(tc.request)
			if err != nil {
				t.Fatal(err)
			}

			got, err := sops.Decrypt(t.Context(), encrypted, sops.YAML, sops.YAML, k)
			if (err != nil) != tc.failing || !tc.failing && string(got.Content) != plain {
				t.Errorf("%s\nerror: %v, content: %q", tc.reason, err, got)
			}
		})
	}
}
