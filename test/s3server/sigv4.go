package s3server

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Keys are the secrets that requests may be signed with, by their access keys. They are safe for concurrent use.
type Keys struct {
	mu  sync.Mutex
	all map[string]secret
}

type secret struct {
	key, session string
	until        time.Time // zero means forever
}

// NewKeys returns keys that never expire.
func NewKeys(permanent map[string]string) *Keys {
	k := &Keys{all: map[string]secret{}}
	for access, key := range permanent {
		k.all[access] = secret{key: key}
	}

	return k
}

// Temporary are keys that expire.
type Temporary struct {
	AccessKey, SecretKey, SessionToken string
	Expiration                         time.Time
}

// Issue makes keys that are good for the time given.
func (k *Keys) Issue(valid time.Duration) Temporary {
	t := Temporary{
		AccessKey: "ASIA" + rand.Text()[:16], SecretKey: rand.Text(), SessionToken: rand.Text(),
		Expiration: time.Now().Add(valid).UTC().Truncate(time.Second),
	}

	k.mu.Lock()
	defer k.mu.Unlock()

	k.all[t.AccessKey] = secret{key: t.SecretKey, session: t.SessionToken, until: t.Expiration}

	return t
}

// SignatureError says why a request is refused, as S3 does.
type SignatureError struct{ Code, Message string }

// Error implements error.
func (e *SignatureError) Error() string { return e.Code + ": " + e.Message }

// Check verifies the Signature Version 4 of a request for the service, and returns its access key.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
func (k *Keys) Check(r *http.Request, service string) (string, *SignatureError) {
	access, scope, headers, signature, ok := parse(r.Header.Get("Authorization"))
	if !ok {
		return "", &SignatureError{"AccessDenied", "Access Denied."}
	}

	k.mu.Lock()
	have, known := k.all[access]
	k.mu.Unlock()

	switch {
	case !known:
		return access, &SignatureError{"InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records."}
	case !have.until.IsZero() && time.Now().After(have.until):
		return access, &SignatureError{"ExpiredToken", "The provided token has expired."}
	case r.Header.Get("X-Amz-Security-Token") != have.session:
		return access, &SignatureError{"InvalidToken", "The provided token is malformed or otherwise invalid."}
	case len(scope) != 4 || scope[2] != service || scope[3] != "aws4_request" ||
		!slices.Contains(headers, "host") || !strings.HasPrefix(r.Header.Get("X-Amz-Date"), scope[0]):
		return access, &SignatureError{"AuthorizationHeaderMalformed", "The authorization header is malformed."}
	}

	want := sign(have.key, scope, r.Header.Get("X-Amz-Date"), canonical(r, headers))
	if !hmac.Equal([]byte(want), []byte(signature)) {
		return access, &SignatureError{
			"SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.",
		}
	}

	return access, nil
}

// parse returns the parts of the header. The scope is date, region, service and aws4_request.
func parse(header string) (access string, scope, headers []string, signature string, ok bool) {
	rest, ok := strings.CutPrefix(header, "AWS4-HMAC-SHA256 ")
	if !ok {
		return "", nil, nil, "", false
	}

	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")

		switch name {
		case "Credential":
			all := strings.Split(value, "/")
			access, scope = all[0], all[1:]
		case "SignedHeaders":
			headers = strings.Split(value, ";")
		case "Signature":
			signature = value
		}
	}

	return access, scope, headers, signature, signature != ""
}

func canonical(r *http.Request, headers []string) string {
	lines := []string{r.Method, path(r.URL), strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20")}

	for _, name := range headers {
		value := strings.Join(r.Header.Values(name), ",")

		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}

		lines = append(lines, name+":"+strings.Join(strings.Fields(value), " "))
	}

	return strings.Join(append(lines, "", strings.Join(headers, ";"), payload(r)), "\n")
}

// payload returns the hash of the body: S3 wants it in a header, other services do not.
func payload(r *http.Request) string {
	if sum := r.Header.Get("X-Amz-Content-Sha256"); sum != "" || r.Body == nil {
		return sum
	}

	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return ""
	}

	r.Body = io.NopCloser(bytes.NewReader(body))
	sum := sha256.Sum256(body)

	return hex.EncodeToString(sum[:])
}

func path(u *url.URL) string {
	if p := u.EscapedPath(); p != "" {
		return p
	}

	return "/"
}

func sign(key string, scope []string, date, request string) string {
	sum := sha256.Sum256([]byte(request))
	text := strings.Join([]string{"AWS4-HMAC-SHA256", date, strings.Join(scope, "/"), hex.EncodeToString(sum[:])}, "\n")

	derived := []byte("AWS4" + key)
	for _, s := range scope {
		derived = mac(derived, s)
	}

	return hex.EncodeToString(mac(derived, text))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))

	return h.Sum(nil)
}
