package cloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/aws/smithy-go"
	"golang.org/x/oauth2"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// maxReason bounds what a provider says about a failure, in bytes.
const maxReason = 512

// Reason returns why a provider gave nothing, in words that are the same for every attempt: those of the libraries hold the
// number of the request and the time.
func Reason(err error) error {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return words(api.ErrorCode(), api.ErrorMessage())
	}

	if e, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok && e.RawResponse != nil {
		return oauth(e.RawResponse.Body, e.RawResponse)
	}

	if e, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return words(e.ErrorCode, statusOf(e.RawResponse))
	}

	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return oauth(bytes.NewReader(e.Body), e.Response)
	}

	short := ingest.RedactError(err)
	if text := cut(short.Error()); text != short.Error() {
		return errors.New(text)
	}

	return short
}

// oauth reads what an OAuth server says about a failure.
func oauth(body io.Reader, resp *http.Response) error {
	var answer struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}

	if e := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&answer); e != nil || answer.Error == "" {
		return words("", statusOf(resp))
	}

	// What follows are the numbers and the time of the request.
	text, _, _ := strings.Cut(answer.Description, "Trace ID:")

	return words(answer.Error, text)
}

func statusOf(resp *http.Response) string {
	if resp == nil {
		return ""
	}

	return ingest.Status(resp)
}

func words(code, text string) error {
	text = strings.TrimSpace(text)
	if code != "" && text != "" {
		code += ": "
	}

	return errors.New(cut(code + text))
}

// cut returns the first line, or what of it is short enough.
func cut(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "…"
	}

	return s
}
