package events

import (
	"context"
	"errors"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// answer is what becomes of an event after an attempt to write it.
type answer int

const (
	written answer = iota
	absent         // there is no such event, or no such namespace
	refused        // it will never be taken
	failed         // it was not taken, others may be
	outage         // nothing is taken at present
)

// answerOf tells what the error of a request means.
func answerOf(err error) answer {
	var status apierrors.APIStatus

	switch {
	case err == nil, apierrors.IsAlreadyExists(err): // names are unique: the answer to the first attempt was lost
		return written
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return absent
	case !errors.As(err, &status): // the connection
		return outage
	case apierrors.IsTooManyRequests(err), apierrors.IsServiceUnavailable(err), apierrors.IsServerTimeout(err),
		status.Status().Code == http.StatusBadGateway:
		return outage
	case apierrors.IsConflict(err), apierrors.IsUnauthorized(err), apierrors.IsTimeout(err), status.Status().Code >= http.StatusInternalServerError:
		return failed
	}

	return refused
}

// cause returns what may be told in the log: what the event says stays out of it.
func cause(err error) string {
	if reason := apierrors.ReasonForError(err); reason != "" {
		return string(reason)
	}

	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}

	return err.Error()
}
