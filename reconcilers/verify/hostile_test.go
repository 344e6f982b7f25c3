package verify_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/weir-dev/weir/reconcilers/verify"
	"github.com/weir-dev/weir/test/signing"
)

const (
	zeros = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	index = "application/vnd.oci.image.index.v1+json"
)

// hostile runs something that claims to be a registry. Its answers are by path, of which the last element may be a star. All
// else is not found.
func hostile(t *testing.T, answers map[string]http.HandlerFunc) (name.Digest, *atomic.Int32) {
	t.Helper()

	var requests atomic.Int32

	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		requests.Add(1)

		path := strings.TrimPrefix(req.URL.Path, "/v2/app/")
		if h, ok := answers[path]; ok {
			h(w, req)

			return
		}

		if h, ok := answers[strings.Split(path, "/")[0]+"/*"]; ok {
			h(w, req)

			return
		}

		if req.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)

	return parse(t, strings.TrimPrefix(s.URL, "http://")+"/app@"+zeros), &requests
}

func say(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		fmt.Fprint(w, body)
	}
}

func fail(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// TestHostile holds that a registry can only keep an image from being used.
func TestHostile(t *testing.T) {
	t.Parallel()

	const (
		manifest = "application/vnd.oci.image.manifest.v1+json"
		tag      = "manifests/sha256-0000000000000000000000000000000000000000000000000000000000000000.sig"
		list     = "referrers/" + zeros
	)

	ts := open(t)

	layer := func(mediaType, digest string, size int, notes string) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{%s}}`, mediaType, digest, size, notes)
	}

	layers := func(ls ...string) string { return `{"schemaVersion":2,"layers":[` + strings.Join(ls, ",") + `]}` }
	simple := "application/vnd.dev.cosign.simplesigning.v1+json"

	many := make([]string, 0, 500)
	for i := range cap(many) {
		many = append(many, layer(simple, fmt.Sprintf("sha256:%064x", i), 10, `"dev.cosignproject.cosign/signature":"AAAA"`))
	}

	same := make([]string, 0, 500)
	for range cap(same) {
		same = append(same, layer(simple, zeros, 10, `"dev.cosignproject.cosign/signature":"AAAA"`))
	}

	referrers := make([]string, 0, 500)
	for i := range cap(referrers) {
		referrers = append(referrers, fmt.Sprintf(
			`{"mediaType":%q,"artifactType":%q,"digest":"sha256:%064x","size":10}`, manifest, "application/vnd.dev.sigstore.bundle.v0.3+json", i))
	}

	cases := map[string]struct {
		reason   string
		answers  map[string]http.HandlerFunc
		err      error // nil: neither of those that say something about signatures
		requests int32 // at most
	}{
		"Nothing": {reason: "There is nothing.", err: verify.ErrNoSignature, requests: 5},
		"Broken":  {reason: "No answer is no answer.", answers: map[string]http.HandlerFunc{tag: fail(http.StatusTeapot)}, requests: 5},
		"BrokenReferrers": {
			reason: "No answer is no answer.", answers: map[string]http.HandlerFunc{list: fail(http.StatusForbidden)}, requests: 5,
		},
		"HugeManifest": {
			reason:  "What is too large is not parsed.",
			answers: map[string]http.HandlerFunc{tag: say(manifest, strings.Repeat(" ", 5<<20))}, err: verify.ErrNotTrusted, requests: 5,
		},
		"GarbageManifest": {
			reason: "What cannot be parsed does not count.", answers: map[string]http.HandlerFunc{tag: say(manifest, "{")},
			err: verify.ErrNotTrusted, requests: 5,
		},
		"ManyLayers": {
			reason: "There are too many payloads, and none is there.", requests: 30,
			answers: map[string]http.HandlerFunc{tag: say(manifest, layers(many...)), "blobs/*": fail(http.StatusNotFound)},
		},
		"SameLayer": {
			reason: "What is the same is read once, even if it is not what its digest says.", requests: 8,
			answers: map[string]http.HandlerFunc{tag: say(manifest, layers(same...)), "blobs/*": say("", "0123456789")},
		},
		"ManyReferrers": {
			reason: "There are too many manifests.", err: verify.ErrNoSignature, requests: 70,
			answers: map[string]http.HandlerFunc{
				list: say(index, `{"schemaVersion":2,"manifests":[`+strings.Join(referrers, ",")+`]}`),
			},
		},
		"EndlessBlob": {
			reason: "What is longer than it says is not read to the end.", err: verify.ErrNotTrusted, requests: 8,
			answers: map[string]http.HandlerFunc{
				tag: say(manifest, layers(layer(simple, zeros, 10, `"dev.cosignproject.cosign/signature":"AAAA"`))),
				"blobs/*": func(w http.ResponseWriter, req *http.Request) {
					for req.Context().Err() == nil {
						if _, err := w.Write(make([]byte, 1<<16)); err != nil {
							return
						}
					}
				},
			},
		},
		"NegativeSize": {
			reason: "Sizes are not negative.", err: verify.ErrNotTrusted, requests: 5,
			answers: map[string]http.HandlerFunc{tag: say(manifest, layers(layer(simple, zeros, -1, "")))},
		},
	}

	for testName, tc := range cases {
		t.Run(testName, func(t *testing.T) {
			t.Parallel()

			d, requests := hostile(t, tc.answers)

			v, err := verify.NewCosign(verify.CosignOptions{Keys: map[string][]byte{"a.pub": ts.alice.Public}})
			if err != nil {
				t.Fatal(err)
			}

			got, err := v.Verify(t.Context(), d, remote.WithRetryStatusCodes())
			if got != (verify.Result{}) || err == nil {
				t.Fatalf("%s\nVerify(): got %v, error %v", tc.reason, got, err)
			}

			if tc.err != nil && !errors.Is(err, tc.err) ||
				tc.err == nil && (errors.Is(err, verify.ErrNoSignature) || errors.Is(err, verify.ErrNotTrusted)) {
				t.Errorf("%s\nVerify(): want error %v, got %v", tc.reason, tc.err, err)
			}

			if len(err.Error()) > 2000 || strings.Count(err.Error(), "\n") > 5 {
				t.Errorf("%s\nVerify(): a long error: %v", tc.reason, err)
			}

			if n := requests.Load(); n > tc.requests {
				t.Errorf("%s\nVerify(): %d requests, more than %d", tc.reason, n, tc.requests)
			}
		})
	}
}

// TestHang holds that verification ends with its context.
func TestHang(t *testing.T) {
	ts := open(t)
	n := notary(t, "alice", signing.Validity{})

	cosign, err := verify.NewCosign(verify.CosignOptions{Keys: map[string][]byte{"a.pub": ts.alice.Public}})
	if err != nil {
		t.Fatal(err)
	}

	notation, err := verify.NewNotation(verify.NotationOptions{
		Data: map[string][]byte{"trustpolicy.json": signing.TrustPolicy("*", "strict"), "ca.crt": n.CA}, Client: client(),
	})
	if err != nil {
		t.Fatal(err)
	}

	for testName, v := range map[string]verify.Image{"Cosign": cosign, "Notation": notation} {
		t.Run(testName, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()

			hang := func(_ http.ResponseWriter, req *http.Request) {
				cancel()
				<-req.Context().Done()
			}

			d, _ := hostile(t, map[string]http.HandlerFunc{"manifests/*": hang, "referrers/*": hang})

			_, err := v.Verify(ctx, d)
			if !errors.Is(err, context.Canceled) || errors.Is(err, verify.ErrNotTrusted) || errors.Is(err, verify.ErrNoSignature) {
				t.Errorf("Verify(): got error %v", err)
			}
		})
	}
}
