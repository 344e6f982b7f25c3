package cloud

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// blobScope is what a token for blobs has to be for.
const blobScope = "https://storage.azure.com/.default"

// serveBlob is Azure Blob Storage. Buckets are called <account>/<container>.
// Source: https://learn.microsoft.com/en-us/rest/api/storageservices/blob-service-rest-api
func (c *Cloud) serveBlob(w http.ResponseWriter, r *http.Request) {
	account, _, _ := strings.Cut(r.Host, ".")
	if code := c.refuseBlob(account, r); code != "" {
		blobError(w, http.StatusForbidden, code)

		return
	}

	container, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	bucket := account + "/" + container

	if r.URL.Query().Get("comp") == "list" {
		c.listBlobs(w, r, bucket)

		return
	}

	o, found, known := c.object(bucket, key)

	switch {
	case !known:
		blobError(w, http.StatusNotFound, "ContainerNotFound")
	case !found:
		blobError(w, http.StatusNotFound, "BlobNotFound")
	default:
		w.Header().Set("ETag", strconv.Quote(o.ETag))
		w.Header().Set("Content-Length", strconv.Itoa(len(o.Content)))
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		w.Header().Set("X-Ms-Blob-Type", "BlockBlob")
		_, _ = w.Write([]byte(o.Content))
	}
}

func blobError(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Ms-Error-Code", code)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: code, Message: code + " RequestId:" + time.Now().String()})
}

type blobList struct {
	XMLName xml.Name   `xml:"EnumerationResults"`
	Blobs   []blobItem `xml:"Blobs>Blob"`
	Next    string     `xml:"NextMarker"`
}

type blobItem struct {
	Name   string
	ETag   string `xml:"Properties>Etag"`
	Length int    `xml:"Properties>Content-Length"`
}

func (c *Cloud) listBlobs(w http.ResponseWriter, r *http.Request, bucket string) {
	q := r.URL.Query()

	most, err := strconv.Atoi(q.Get("maxresults"))
	if err != nil {
		most = 5000
	}

	keys, more, known := c.page(bucket, q.Get("prefix"), q.Get("marker"), most)
	if !known {
		blobError(w, http.StatusNotFound, "ContainerNotFound")

		return
	}

	list := blobList{}
	for _, key := range keys {
		o, _, _ := c.object(bucket, key)
		list.Blobs = append(list.Blobs, blobItem{Name: key, ETag: o.ETag, Length: len(o.Content)})
	}

	if more {
		list.Next = keys[len(keys)-1]
	}

	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(list)
}

// refuseBlob returns why a request is refused, or nothing.
func (c *Cloud) refuseBlob(account string, r *http.Request) string {
	header := r.Header.Get("Authorization")

	switch {
	case r.URL.Query().Has("sig"):
		if slices.Contains(c.Signatures, r.URL.Query().Get("sig")) {
			return ""
		}
	case strings.HasPrefix(header, "Bearer "):
		if c.good(r) == blobScope {
			return ""
		}
	case strings.HasPrefix(header, "SharedKey "):
		key, err := base64.StdEncoding.DecodeString(c.AccountKeys[account])
		if err == nil && len(key) > 0 && header == "SharedKey "+account+":"+sharedKey(key, account, r) {
			return ""
		}
	default:
		return "NoAuthenticationInformation"
	}

	return "AuthenticationFailed"
}

// sharedKey signs a request with the key of an account.
// Source: https://learn.microsoft.com/en-us/rest/api/storageservices/authorize-with-shared-key
func sharedKey(key []byte, account string, r *http.Request) string {
	lines := []string{r.Method}

	for _, name := range []string{
		"Content-Encoding", "Content-Language", "Content-Length", "Content-MD5", "Content-Type", "Date", "If-Modified-Since",
		"If-Match", "If-None-Match", "If-Unmodified-Since", "Range",
	} {
		lines = append(lines, r.Header.Get(name))
	}

	var own []string
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-ms-") {
			own = append(own, name+":"+r.Header.Get(name))
		}
	}

	slices.Sort(own)

	resource := []string{"/" + account + r.URL.EscapedPath()}

	query := r.URL.Query()
	names := make([]string, 0, len(query))

	for name := range query {
		names = append(names, name)
	}

	slices.Sort(names)

	for _, name := range names {
		resource = append(resource, strings.ToLower(name)+":"+strings.Join(query[name], ","))
	}

	h := hmac.New(sha256.New, key)
	h.Write([]byte(strings.Join(slices.Concat(lines, own, resource), "\n")))

	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}
