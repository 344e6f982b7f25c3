package platform

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/test/authority"
)

// WebhookName is the name of the webhook in messages of the API server.
const WebhookName = "judge.example.com"

// ErrHang makes a webhook not answer at all, until the API server gives up.
var ErrHang = errors.New("no answer")

// Webhook is a validating admission webhook, over HTTPS as the API server wants it.
type Webhook struct {
	server    *http.Server
	address   string
	authority *authority.Authority

	mu    sync.Mutex
	judge func(name string, dryRun bool) error
}

// NewWebhook starts a webhook that refuses nothing. It ends with Close.
func NewWebhook(ctx context.Context) (*Webhook, error) {
	w := &Webhook{judge: func(string, bool) error { return nil }}

	var err error
	if w.authority, err = authority.New(); err != nil {
		return nil, err
	}

	config, err := w.authority.ServerConfig("127.0.0.1", false)
	if err != nil {
		return nil, err
	}

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}

	w.address = listener.Addr().String()
	w.server = &http.Server{ //nolint:gosec // nobody but the API server comes
		Handler: http.HandlerFunc(w.review), TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0),
	}

	go w.server.ServeTLS(listener, "", "") //nolint:errcheck // ends with Close

	return w, nil
}

// Close ends the webhook.
func (w *Webhook) Close() error { return w.server.Close() }

// Judge sets what decides on an object: the text of the error is what the API server passes on.
func (w *Webhook) Judge(judge func(name string, dryRun bool) error) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.judge = judge
}

// Configuration makes the API server ask the webhook about the ConfigMaps of a namespace, for a second at most.
func (w *Webhook) Configuration(name, namespace string) *unstructured.Unstructured {
	o := Object(schema.GroupVersionKind{
		Group: "admissionregistration.k8s.io", Version: "v1", Kind: "ValidatingWebhookConfiguration",
	}, "", name)
	o.Object["webhooks"] = []any{map[string]any{
		"name": WebhookName, "admissionReviewVersions": []any{"v1"}, "sideEffects": "None", "failurePolicy": "Fail",
		"timeoutSeconds":    int64(1),
		"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": namespace}},
		"clientConfig": map[string]any{
			"url": "https://" + w.address + "/review", "caBundle": base64.StdEncoding.EncodeToString(w.authority.PEM()),
		},
		"rules": []any{map[string]any{
			"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "resources": []any{"configmaps"}, "operations": []any{"CREATE", "UPDATE"},
		}},
	}}

	return o
}

func (w *Webhook) review(resp http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
		http.Error(resp, fmt.Sprintf("not a review: %v", err), http.StatusBadRequest)

		return
	}

	w.mu.Lock()
	judge := w.judge
	w.mu.Unlock()

	err := judge(review.Request.Name, review.Request.DryRun != nil && *review.Request.DryRun)
	if errors.Is(err, ErrHang) {
		<-r.Context().Done()

		return
	}

	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: err == nil}
	if err != nil {
		review.Response.Result = &metav1.Status{Message: err.Error(), Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden}
	}

	review.Request = nil

	resp.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(resp).Encode(review) //nolint:errcheck,errchkjson // what came can go, and who has gone does not wait
}
