package cloud

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// audienceAzure is what a token of a ServiceAccount has to be for.
const audienceAzure = "api://AzureADTokenExchange"

func expiry(lifetime time.Duration) float64 { return float64(time.Now().Add(lifetime).Unix()) }

func (c *Cloud) handleAzure() {
	for _, host := range []string{"login.microsoftonline.com", "login.microsoft.com"} {
		c.Handle(host, http.HandlerFunc(c.serveEntra))
	}

	c.Handle("*.azurecr.io", http.HandlerFunc(c.serveACR))
	c.Handle("*.blob.core.windows.net", http.HandlerFunc(c.serveBlob))
}

// serveEntra is Entra ID.
// Source: https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow
func (c *Cloud) serveEntra(w http.ResponseWriter, r *http.Request) {
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	base := "https://login.microsoftonline.com/" + tenant

	switch rest {
	case "discovery/instance":
		answer(w, http.StatusOK, map[string]any{
			"tenant_discovery_endpoint": base + "/v2.0/.well-known/openid-configuration",
			"metadata": []any{map[string]any{
				"preferred_network": "login.microsoftonline.com", "preferred_cache": "login.windows.net",
				"aliases": []string{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com"},
			}},
		})
	case "v2.0/.well-known/openid-configuration":
		answer(w, http.StatusOK, map[string]string{
			"token_endpoint": base + "/oauth2/v2.0/token", "issuer": base + "/v2.0",
			"authorization_endpoint": base + "/oauth2/v2.0/authorize",
		})
	case "oauth2/v2.0/token":
		c.entraToken(w, r, tenant)
	default:
		http.NotFound(w, r)
	}
}

func (c *Cloud) entraToken(w http.ResponseWriter, r *http.Request, tenant string) {
	refuse := func(code, text string) {
		answer(w, http.StatusUnauthorized, map[string]any{
			"error": code, "error_description": text + " Trace ID: " + time.Now().String() + " Timestamp: " + time.Now().String(),
		})
	}

	if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") != "client_credentials" {
		refuse("invalid_request", "AADSTS900144: The request is malformed.")

		return
	}

	id := tenant + "/" + r.PostForm.Get("client_id")

	switch assertion := r.PostForm.Get("client_assertion"); {
	case assertion != "":
		if account := c.account(assertion, audienceAzure); !c.certified(assertion) && (account == "" || c.Roles[id] != account) {
			refuse("invalid_client", "AADSTS700213: No matching federated identity record found.")

			return
		}
	case c.Secrets[id] == "" || c.Secrets[id] != r.PostForm.Get("client_secret"):
		refuse("invalid_client", "AADSTS7000215: Invalid client secret provided.")

		return
	}

	scope, _, _ := strings.Cut(r.PostForm.Get("scope"), " ")
	answer(w, http.StatusOK, map[string]any{
		"token_type": "Bearer", "expires_in": int(c.lifetime().Seconds()), "access_token": c.issue(scope),
	})
}

// certified tells whether the assertion is signed with the key of a certificate, by RS256 or PS256.
func (c *Cloud) certified(assertion string) bool {
	text, last := cutLast(assertion, ".")
	hash := sha256.Sum256([]byte(text))

	signature, err := base64.RawURLEncoding.DecodeString(last)
	if err != nil {
		return false
	}

	for _, key := range c.Certificates {
		if rsa.VerifyPKCS1v15(key, crypto.SHA256, hash[:], signature) == nil ||
			rsa.VerifyPSS(key, crypto.SHA256, hash[:], signature, nil) == nil {
			return true
		}
	}

	return false
}

// serveACR exchanges a token of Entra ID for one of a registry.
// Source: https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
func (c *Cloud) serveACR(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || r.URL.Path != "/oauth2/exchange" || r.PostForm.Get("grant_type") != "access_token" ||
		r.PostForm.Get("service") != r.Host {
		http.NotFound(w, r)

		return
	}

	c.mu.Lock()
	scope := c.tokens[r.PostForm.Get("access_token")]
	c.mu.Unlock()

	if scope != "https://containerregistry.azure.net/.default" {
		answer(w, http.StatusUnauthorized, map[string]any{
			"errors": []any{map[string]string{"code": "UNAUTHORIZED", "message": "authentication required"}},
		})

		return
	}

	answer(w, http.StatusOK, map[string]string{
		"refresh_token": c.sign(map[string]any{"aud": []string{r.Host}, "exp": time.Now().Add(c.lifetime()).Unix()}),
	})
}
