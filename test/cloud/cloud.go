package cloud

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weir-dev/weir/test/s3server"
)

// Cloud is all three clouds. Its fields are set before it is used.
type Cloud struct {
	*Internet

	// Keys are those of AWS.
	Keys *s3server.Keys

	// Roles of AWS, by their ARN; managed identities of Azure, by <tenant>/<client ID>; and service accounts of Google Cloud, by
	// their mail address. The values are the ServiceAccounts that may take them, as <namespace>/<name>.
	Roles map[string]string

	// Secrets of service principals of Azure, by <tenant>/<client ID>.
	Secrets map[string]string

	// Certificates are the keys by which every service principal of Azure may sign.
	Certificates []*rsa.PublicKey

	// ServiceKeys are the public keys of service accounts of Google Cloud, by their mail address.
	ServiceKeys map[string]ServiceKey

	// AccountKeys of Azure, in base64, by the name of the storage account.
	AccountKeys map[string]string

	// Signatures are those of shared access signatures of Azure.
	Signatures []string

	// Assumable are the roles of AWS, by their ARN, that everybody with good keys may assume.
	Assumable map[string]bool

	// KeyRoles are the keys of AWS KMS, by their ARN, that are only for who has assumed a role.
	KeyRoles map[string]string

	// Tenant is the one that vaults of Azure belong to.
	Tenant string

	// Lifetime of tokens. Zero means an hour.
	Lifetime time.Duration

	signing []byte

	mu      sync.Mutex
	tokens  map[string]string // what the token is good for
	buckets map[string]map[string]Object
	version int64

	clusters map[string]*Cluster
	sealed   map[string]sealed
	assumed  map[string]string // roles of AWS by their access keys
}

// Object of a bucket of Azure or Google Cloud.
type Object struct {
	Content string
	ETag    string
	Version int64
}

// New returns clouds that are on an internet of their own, until its Close.
func New(ctx context.Context) (*Cloud, error) {
	i, err := NewInternet(ctx)
	if err != nil {
		return nil, err
	}

	c := &Cloud{
		Internet: i, Keys: s3server.NewKeys(nil), Roles: map[string]string{}, Secrets: map[string]string{},
		Assumable: map[string]bool{}, KeyRoles: map[string]string{},
		ServiceKeys: map[string]ServiceKey{}, AccountKeys: map[string]string{}, signing: []byte(rand.Text()),
		tokens: map[string]string{}, buckets: map[string]map[string]Object{},
	}

	c.handleAWS()
	c.handleAzure()
	c.handleGoogle()
	c.handleClusters()
	c.handleKeys()

	return c, nil
}

// ServiceAccountToken makes a token of a ServiceAccount, as the API server does.
func (c *Cloud) ServiceAccountToken(namespace, name string, audiences ...string) string {
	return c.sign(map[string]any{
		"sub": "system:serviceaccount:" + namespace + ":" + name, "aud": audiences, "exp": time.Now().Add(time.Hour).Unix(),
	})
}

// sign makes a token of claims.
func (c *Cloud) sign(claims map[string]any) string {
	body, _ := json.Marshal(claims) //nolint:errchkjson // claims are strings and numbers
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(body)

	return text + "." + base64.RawURLEncoding.EncodeToString(c.mac(text))
}

func (c *Cloud) mac(text string) []byte {
	h := hmac.New(sha256.New, c.signing)
	h.Write([]byte(text))

	return h.Sum(nil)
}

// account returns the ServiceAccount of a token for the audience, as <namespace>/<name>, or nothing.
func (c *Cloud) account(token, audience string) string {
	text, sum := cutLast(token, ".")

	mac, err := base64.RawURLEncoding.DecodeString(sum)
	if err != nil || !hmac.Equal(mac, c.mac(text)) {
		return ""
	}

	_, body, _ := strings.Cut(text, ".")

	raw, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return ""
	}

	var claims struct {
		Sub string   `json:"sub"`
		Aud []string `json:"aud"`
	}
	if json.Unmarshal(raw, &claims) != nil || !slices.Contains(claims.Aud, audience) {
		return ""
	}

	return strings.ReplaceAll(strings.TrimPrefix(claims.Sub, "system:serviceaccount:"), ":", "/")
}

func cutLast(s, sep string) (before, after string) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, ""
	}

	return s[:i], s[i+len(sep):]
}

// issue makes an access token that is good for something.
func (c *Cloud) issue(what string) string {
	token := "token-" + rand.Text()

	c.mu.Lock()
	defer c.mu.Unlock()

	c.tokens[token] = what

	return token
}

// good tells what the bearer token of a request is good for.
func (c *Cloud) good(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")

	c.mu.Lock()
	defer c.mu.Unlock()

	return c.tokens[token]
}

func (c *Cloud) lifetime() time.Duration {
	if c.Lifetime > 0 {
		return c.Lifetime
	}

	return time.Hour
}

// Put stores an object in a bucket of Azure or Google Cloud, and returns its etag.
func (c *Cloud) Put(bucket, key, content string) string {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.buckets[bucket] == nil {
		c.buckets[bucket] = map[string]Object{}
	}

	c.version++
	etag := "0x" + strings.ToUpper(s3server.ETag(content)[:16])
	c.buckets[bucket][key] = Object{Content: content, ETag: etag, Version: c.version}

	return etag
}

// Delete removes an object from a bucket of Azure or Google Cloud.
func (c *Cloud) Delete(bucket, key string) {
	c.mu.Lock()
	defer c.mu.Unlock()

	delete(c.buckets[bucket], key)
}

// object returns an object, and whether its bucket is there.
func (c *Cloud) object(bucket, key string) (o Object, found, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()

	all, known := c.buckets[bucket]
	o, found = all[key]

	return o, found, known
}

// page returns the keys of a bucket that follow a key, at most as many as given, and whether there are more.
func (c *Cloud) page(bucket, prefix, after string, most int) (keys []string, more, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()

	all, known := c.buckets[bucket]
	for key := range all {
		if strings.HasPrefix(key, prefix) && key > after {
			keys = append(keys, key)
		}
	}

	slices.Sort(keys)

	return keys[:min(len(keys), most)], len(keys) > most, known
}

// answer writes JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // answers are strings and numbers
}
