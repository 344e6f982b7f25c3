package cloud

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
)

// Vault is a server of HashiCorp Vault or OpenBao with transit engines, which everybody with a good token may use, and with logins
// of ServiceAccounts of the cluster that the clouds know. Its fields are set before it is used.
type Vault struct {
	// Cloud knows the ServiceAccounts and keeps what is encrypted.
	Cloud *Cloud

	// Token is one that never expires. Empty means that there is none.
	Token string

	// Audience is what tokens of ServiceAccounts have to be for.
	Audience string

	// Logins are the roles at the paths of logins, as <path> <role>. The values are the ServiceAccounts that may take them, as
	// <namespace>/<name>.
	Logins map[string]string

	// Lease is how long a login is good for, in seconds, as far as it says.
	Lease int

	// Namespace is the one of Vault Enterprise that requests have to be for.
	Namespace string
}

// ServeHTTP implements http.Handler.
// Source: https://developer.hashicorp.com/vault/api-docs/secret/transit and /auth/kubernetes
func (v *Vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/v1/")

	var in struct {
		Role, JWT, Ciphertext, Plaintext string
	}

	switch {
	case !ok || r.Method != http.MethodPost && r.Method != http.MethodPut || r.Header.Get("X-Vault-Request") != "true" ||
		json.NewDecoder(r.Body).Decode(&in) != nil:
		vaultError(w, http.StatusBadRequest, "malformed request")
	case r.Header.Get("X-Vault-Namespace") != v.Namespace:
		vaultError(w, http.StatusForbidden, "permission denied")
	case strings.HasSuffix(path, "/login"):
		v.login(w, path, in.Role, in.JWT)
	case !v.good(r.Header.Get("X-Vault-Token")):
		vaultError(w, http.StatusForbidden, "permission denied: "+r.Header.Get("X-Vault-Token")) // more than a good one says
	default:
		v.transit(w, path, in.Plaintext, in.Ciphertext)
	}
}

func (v *Vault) good(token string) bool {
	v.Cloud.mu.Lock()
	defer v.Cloud.mu.Unlock()

	return token != "" && (token == v.Token || v.Cloud.tokens[token] == "vault:"+v.Audience)
}

func (v *Vault) login(w http.ResponseWriter, path, role, jwt string) {
	if who := v.Logins[path+" "+role]; who == "" || v.Cloud.account(jwt, v.Audience) != who {
		vaultError(w, http.StatusForbidden, "permission denied: "+jwt) // more than a good one says

		return
	}

	answer(w, http.StatusOK, map[string]any{"auth": map[string]any{
		"client_token": v.Cloud.issue("vault:" + v.Audience), "lease_duration": v.Lease, "renewable": true,
	}})
}

// Revoke takes back the tokens of all logins.
func (v *Vault) Revoke() {
	v.Cloud.mu.Lock()
	defer v.Cloud.mu.Unlock()

	for token, what := range v.Cloud.tokens {
		if what == "vault:"+v.Audience {
			delete(v.Cloud.tokens, token)
		}
	}
}

const vaultPrefix = "vault:v1:"

// Seal encrypts with the key at the path <engine>/keys/<name>.
func (v *Vault) Seal(path string, plain []byte) string {
	return vaultPrefix + base64.StdEncoding.EncodeToString(v.Cloud.Seal(path, plain, nil))
}

func (v *Vault) transit(w http.ResponseWriter, path, plaintext, ciphertext string) {
	rest, name := cutLast(path, "/")
	engine, operation := cutLast(rest, "/")
	key := engine + "/keys/" + name

	switch operation {
	case "encrypt":
		plain, _ := base64.StdEncoding.DecodeString(plaintext)
		answer(w, http.StatusOK, map[string]any{"data": map[string]string{"ciphertext": v.Seal(key, plain)}})
	case "decrypt":
		raw, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(ciphertext, vaultPrefix))

		plain, ok := v.Cloud.unseal(key, raw, nil)
		if !ok {
			vaultError(w, http.StatusBadRequest, "cipher: message authentication failed")

			return
		}

		answer(w, http.StatusOK, map[string]any{"data": map[string]string{"plaintext": base64.StdEncoding.EncodeToString(plain)}})
	default:
		vaultError(w, http.StatusNotFound)
	}
}

func vaultError(w http.ResponseWriter, status int, text ...string) {
	answer(w, status, map[string]any{"errors": append([]string{}, text...)})
}
