package kms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// statusError is an answer that is none. If who answers may be anybody, it says no more than the code: they have seen a token.
type statusError struct {
	code int
	text string
}

// Error implements error.
func (e *statusError) Error() string { return e.text }

// question is one to a service, which gets and gives JSON.
type question struct {
	route  ingest.Route
	url    string
	header map[string]string
	body   any

	// cloud says that the service is one of a cloud, whose words may be repeated.
	cloud bool
}

func (q question) request(ctx context.Context) (*http.Request, error) {
	body, err := json.Marshal(q.body)
	if err != nil {
		return nil, errors.New("the question cannot be encoded")
	}

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, q.url, bytes.NewReader(body))
	if err != nil {
		return nil, ingest.RedactError(err) //nolint:wrapcheck // the caller does
	}

	req.Header.Set("Content-Type", "application/json")

	for name, value := range q.header {
		req.Header.Set(name, value)
	}

	return req, nil
}

// ask sends a question and reads the answer, which is bounded.
func (k *keys) ask(ctx context.Context, q question, answer any) error {
	client, err := k.client(q.route)
	if err != nil {
		return err
	}

	req, err := q.request(ctx)
	if err != nil {
		return err
	}

	resp, err := client.Do(req)
	if err != nil {
		return ingest.RedactError(err) //nolint:wrapcheck // the caller does
	}
	defer resp.Body.Close() //nolint:errcheck // it was read

	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer: %w", ingest.RedactError(err))
	}

	if resp.StatusCode != http.StatusOK {
		refused := &statusError{code: resp.StatusCode, text: ingest.Status(resp)}
		if q.cloud {
			refused.text += words(raw)
		}

		return refused
	}

	if json.Unmarshal(raw, answer) != nil { // the error may quote it
		return errors.New("the answer is no JSON of the service")
	}

	return nil
}

// words returns what a service of Azure or Google says about a failure. Details of the request come in further lines.
func words(raw []byte) string {
	const most = 300

	var answer struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}

	if json.Unmarshal(raw, &answer) != nil {
		return ""
	}

	text, _, _ := strings.Cut(strings.TrimSpace(answer.Error.Message), "\n")
	if text == "" {
		return ""
	}

	return ": " + strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// within makes requests end with a context.
type within struct {
	http.RoundTripper

	ctx context.Context //nolint:containedctx // it lives as long as the call that was given the context
}

// RoundTrip implements http.RoundTripper.
func (w within) RoundTrip(req *http.Request) (*http.Response, error) {
	return w.RoundTripper.RoundTrip(req.WithContext(w.ctx)) //nolint:wrapcheck // http.Client adds the URL
}
