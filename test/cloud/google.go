package cloud

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// googleScope is what a token of Google Cloud is for.
const googleScope = "google"

func (c *Cloud) handleGoogle() {
	c.Handle("sts.googleapis.com", http.HandlerFunc(c.serveGoogleSTS))
	c.Handle("iamcredentials.googleapis.com", http.HandlerFunc(c.serveGoogleIAM))
	c.Handle("oauth2.googleapis.com", http.HandlerFunc(c.serveGoogleOAuth))
	c.Handle("storage.googleapis.com", http.HandlerFunc(c.serveGCS))
}

// ServiceKey is the public key of a service account of Google Cloud.
type ServiceKey struct{ public *rsa.PublicKey }

// NewServiceKey makes a key of a service account of Google Cloud, that the cloud knows, and returns it as JSON.
func (c *Cloud) NewServiceKey(mail string) ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}

	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}

	c.ServiceKeys[mail] = ServiceKey{&key.PublicKey}

	return json.Marshal(map[string]string{ //nolint:gosec // the key is new
		"type": "service_account", "client_email": mail, "private_key_id": "1", "token_uri": "https://oauth2.googleapis.com/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})),
	})
}

// serveGoogleSTS exchanges the token of a ServiceAccount for one of Google Cloud.
// Source: https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token
func (c *Cloud) serveGoogleSTS(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()

	account := c.account(r.PostForm.Get("subject_token"), r.PostForm.Get("audience"))
	if account == "" || r.URL.Path != "/v1/token" {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": "The token is not valid."})

		return
	}

	answer(w, http.StatusOK, map[string]any{ //nolint:gosec // the token is new
		"access_token": c.issue("federated:" + account), "expires_in": int(c.lifetime().Seconds()), "token_type": "Bearer",
		"issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
	})
}

// serveGoogleIAM makes tokens of service accounts.
// Source: https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken
func (c *Cloud) serveGoogleIAM(w http.ResponseWriter, r *http.Request) {
	mail, _ := strings.CutPrefix(r.URL.Path, "/v1/projects/-/serviceAccounts/")
	mail, ok := strings.CutSuffix(mail, ":generateAccessToken")

	if who := c.Roles[mail]; !ok || who == "" || c.good(r) != "federated:"+who {
		answer(w, http.StatusForbidden, map[string]any{"error": map[string]any{
			"code": http.StatusForbidden, "status": "PERMISSION_DENIED", "message": "Permission 'iam.serviceAccounts.getAccessToken' denied",
		}})

		return
	}

	answer(w, http.StatusOK, map[string]string{
		"accessToken": c.issue(googleScope), "expireTime": time.Now().Add(c.lifetime()).UTC().Format(time.RFC3339),
	})
}

// serveGoogleOAuth gives a token for what the key of a service account has signed.
// Source: https://developers.google.com/identity/protocols/oauth2/service-account
func (c *Cloud) serveGoogleOAuth(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()

	text, sum := cutLast(r.PostForm.Get("assertion"), ".")
	_, body, _ := strings.Cut(text, ".")
	raw, _ := base64.RawURLEncoding.DecodeString(body)
	signature, _ := base64.RawURLEncoding.DecodeString(sum)

	var claims struct {
		Iss   string `json:"iss"`
		Scope string `json:"scope"`
	}
	_ = json.Unmarshal(raw, &claims)

	hash := sha256.Sum256([]byte(text))

	key, ok := c.ServiceKeys[claims.Iss]
	if !ok || claims.Scope == "" || rsa.VerifyPKCS1v15(key.public, crypto.SHA256, hash[:], signature) != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": "Invalid JWT Signature."})

		return
	}

	answer(w, http.StatusOK, map[string]any{
		"access_token": c.issue(googleScope), "expires_in": int(c.lifetime().Seconds()), "token_type": "Bearer",
	})
}

// serveGCS is the JSON API of Google Cloud Storage.
// Source: https://cloud.google.com/storage/docs/json_api
func (c *Cloud) serveGCS(w http.ResponseWriter, r *http.Request) {
	if c.good(r) != googleScope {
		googleError(w, http.StatusUnauthorized, "Invalid Credentials")

		return
	}

	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/storage/v1/b/")
	bucket, name, isObject := strings.Cut(rest, "/o/")

	if !ok {
		googleError(w, http.StatusNotFound, "Not Found")

		return
	}

	if !isObject {
		c.listGCS(w, r, strings.TrimSuffix(bucket, "/o"))

		return
	}

	key, _ := url.PathUnescape(name)
	o, found, _ := c.object(bucket, key)

	if generation := r.URL.Query().Get("generation"); !found || generation != "" && generation != strconv.FormatInt(o.Version, 10) {
		googleError(w, http.StatusNotFound, "No such object: "+bucket+"/"+key)

		return
	}

	if r.URL.Query().Get("alt") == "media" {
		_, _ = w.Write([]byte(o.Content))

		return
	}

	answer(w, http.StatusOK, item(key, o))
}

func item(key string, o Object) map[string]any {
	return map[string]any{
		"kind": "storage#object", "name": key, "etag": o.ETag, "size": strconv.Itoa(len(o.Content)),
		"generation": strconv.FormatInt(o.Version, 10),
	}
}

func (c *Cloud) listGCS(w http.ResponseWriter, r *http.Request, bucket string) {
	q := r.URL.Query()

	most, err := strconv.Atoi(q.Get("maxResults"))
	if err != nil {
		most = 1000
	}

	keys, more, known := c.page(bucket, q.Get("prefix"), q.Get("pageToken"), most)
	if !known {
		googleError(w, http.StatusNotFound, "The specified bucket does not exist.")

		return
	}

	items := make([]any, 0, len(keys))

	for _, key := range keys {
		o, _, _ := c.object(bucket, key)
		items = append(items, item(key, o))
	}

	list := map[string]any{"kind": "storage#objects", "items": items}
	if more {
		list["nextPageToken"] = keys[len(keys)-1]
	}

	answer(w, http.StatusOK, list)
}

func googleError(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"error": map[string]any{"code": status, "message": message}})
}
