package cloud_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-dev/weir/reconcilers/cloud"
)

func TestProcess(t *testing.T) {
	c, cluster, _ := credentials(t)

	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ROLE_ARN", role)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", tokenFile(t, "sts.amazonaws.com"))

	username, password, err := c.Registry(t.Context(), request(cloud.AWS, ""), ecr)
	if err != nil || username == "" || password == "" {
		t.Errorf("aws: %v", err)
	}

	t.Setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/")
	t.Setenv("AZURE_TENANT_ID", tenant)
	t.Setenv("AZURE_CLIENT_ID", clientID)
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", tokenFile(t, "api://AzureADTokenExchange"))

	if _, password, err = c.Registry(t.Context(), request(cloud.Azure, ""), acr); err != nil || password == "" {
		t.Errorf("azure: %v", err)
	}

	key, err := sky.NewServiceKey(mail)
	if err != nil {
		t.Fatal(err)
	}

	file := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}

	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)

	if _, password, err = c.Registry(t.Context(), request(cloud.GCP, ""), gar); err != nil || password == "" {
		t.Errorf("gcp: %v", err)
	}

	if cluster.tokens.Load() != 0 {
		t.Error("tokens of ServiceAccounts were made")
	}
}

func TestProcessWithKeys(t *testing.T) {
	c, _, registry := credentials(t)

	keys := sky.Keys.Issue(time.Hour)
	t.Setenv("AWS_ACCESS_KEY_ID", keys.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", keys.SecretKey)
	t.Setenv("AWS_SESSION_TOKEN", keys.SessionToken)

	for range 2 {
		got, err := c.AWS(t.Context(), request(cloud.AWS, ""), cloud.AWSOptions{Region: "us-east-1"})
		if err != nil || got.AccessKeyID != keys.AccessKey || !got.Expires.IsZero() {
			t.Errorf("%+v, %v", got.AccessKeyID, err)
		}
	}

	if got := figures(t, registry); got["gotk_token_cached_items"] != 1 {
		t.Errorf("figures: %v", got)
	}
}

func TestProcessAsksItsNodeDirectly(t *testing.T) {
	c, _, _ := credentials(t)

	var asked atomic.Int64

	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "secret of the pod" {
			http.Error(w, "no", http.StatusForbidden)

			return
		}

		asked.Add(1)

		_ = json.NewEncoder(w).Encode(map[string]string{
			"AccessKeyId": "node", "SecretAccessKey": "x", "Token": "y", "Expiration": time.Now().Add(time.Hour).Format(time.RFC3339),
		})
	}))
	defer node.Close()

	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", node.URL)
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "secret of the pod")

	keys, err := c.AWS(t.Context(), request(cloud.AWS, ""), cloud.AWSOptions{Region: "us-east-1"})
	if err != nil || keys.AccessKeyID != "node" || asked.Load() != 1 || len(sky.Requests()) != 0 {
		t.Errorf("%q, %v: the node was asked %d times", keys.AccessKeyID, err, asked.Load())
	}
}

func tokenFile(t *testing.T, audience string) string {
	t.Helper()

	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(sky.ServiceAccountToken("apps", "reader", audience)), 0o600); err != nil {
		t.Fatal(err)
	}

	return file
}

func TestLockdown(t *testing.T) {
	c, cluster, _ := credentials(t, func(o *cloud.Options) { o.DefaultServiceAccount = "reader" })
	t.Setenv("AWS_ACCESS_KEY_ID", "process")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "process")

	keys, err := c.AWS(t.Context(), request(cloud.AWS, ""), cloud.AWSOptions{Region: "us-east-1"})
	if err != nil || keys.AccessKeyID == "process" || cluster.tokens.Load() != 1 {
		t.Errorf("%q, %v", keys.AccessKeyID, err)
	}

	own := request(cloud.AWS, "")
	own.Process = true

	if keys, err := c.AWS(t.Context(), own, cloud.AWSOptions{Region: "us-east-1"}); err != nil || keys.AccessKeyID != "process" {
		t.Errorf("who has a default of its own gets %q, %v", keys.AccessKeyID, err)
	}

	elsewhere := request(cloud.AWS, "")
	elsewhere.Namespace = "other"

	if _, err := c.AWS(t.Context(), elsewhere, cloud.AWSOptions{Region: "us-east-1"}); err == nil ||
		!strings.Contains(err.Error(), "failed to get service account 'other/reader'") {
		t.Errorf("error: %v", err)
	}

	if _, err := c.AzureManaged(t.Context(), request(cloud.Azure, ""), clientID, "x"); err == nil {
		t.Error("a managed identity is available")
	}
}

func TestGuardedProxy(t *testing.T) {
	c, _, _ := credentials(t)

	r := request(cloud.GCP, "reader")
	r.Proxy = &url.URL{Scheme: "http", Host: "169.254.169.254", User: url.UserPassword("u", "hunter2")}

	_, err := c.GCP(t.Context(), r)
	if err == nil || !strings.Contains(err.Error(), "address 169.254.169.254 is link-local") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error: %v", err)
	}
}
