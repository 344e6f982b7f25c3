package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
)

// TestFromConditions holds the summary of the source kinds, see reference §2.2: negative and True, then positive and False,
// then positive and True; SourceVerified over all, if False.
func TestFromConditions(t *testing.T) {
	const yes, no = metav1.ConditionTrue, metav1.ConditionFalse

	type conditions map[string]metav1.ConditionStatus

	cases := map[string]struct {
		reason string
		have   conditions
		err    error
		want   string
		queued time.Duration
	}{
		"Stored": {
			"a positive condition is success", conditions{meta.ArtifactInStorageCondition: yes}, nil,
			"True ArtifactInStorageReason: ArtifactInStorage is True", time.Hour,
		},
		"StoredAndVerified": {
			"the first of the positive ones gives the words",
			conditions{meta.SourceVerifiedCondition: yes, meta.ArtifactInStorageCondition: yes}, nil,
			"True ArtifactInStorageReason: ArtifactInStorage is True", time.Hour,
		},
		"Outdated": {
			"a negative condition beats the positive ones",
			conditions{meta.ArtifactInStorageCondition: yes, meta.ArtifactOutdatedCondition: yes}, nil,
			"False ArtifactOutdatedReason: ArtifactOutdated is True", minRetry,
		},
		"SeveralNegative": {
			"the first in the order of the declaration gives the words",
			conditions{meta.ArtifactOutdatedCondition: yes, meta.FetchFailedCondition: yes, meta.StorageOperationFailedCondition: yes},
			errors.New("failed"),
			"False StorageOperationFailedReason: StorageOperationFailed is True", minRetry,
		},
		"NegativeFalse": {
			"a negative condition that is False says nothing",
			conditions{meta.ArtifactInStorageCondition: yes, meta.FetchFailedCondition: no}, nil,
			"True ArtifactInStorageReason: ArtifactInStorage is True", time.Hour,
		},
		"PositiveFalse": {
			"a positive condition that is False beats one that is True",
			conditions{meta.ArtifactInStorageCondition: no, meta.SourceVerifiedCondition: yes}, nil,
			"False ArtifactInStorageReason: ArtifactInStorage is False", minRetry,
		},
		"NotVerified": {
			"a signature that is not good beats everything",
			conditions{meta.SourceVerifiedCondition: no, meta.ArtifactInStorageCondition: yes, meta.StorageOperationFailedCondition: yes}, nil,
			"False SourceVerifiedReason: SourceVerified is False", minRetry,
		},
		"Nothing": {
			"success that no condition shows is none", nil, nil,
			"Unknown Progressing: Reconciliation in progress", minRetry,
		},
		"Stalled": {
			"the Stalled condition is a negative one",
			conditions{meta.ArtifactInStorageCondition: yes}, engine.Stall("URLInvalid", errors.New("parse url")),
			"False URLInvalid: parse url", 0,
		},
		"StalledByFetch": {
			"the kind's own conditions come before it",
			conditions{meta.FetchFailedCondition: yes}, engine.Stall("URLInvalid", errors.New("parse url")),
			"False FetchFailedReason: FetchFailed is True", 0,
		},
		"Failed": {
			"a failure that no condition shows is taken as it is",
			conditions{meta.ArtifactInStorageCondition: yes}, errors.New("no space"),
			"False ActFailed: no space", minRetry,
		},
		"Blocked": {
			"so is one that waits",
			conditions{meta.ArtifactInStorageCondition: yes}, engine.Wait("NoSource", time.Minute, errors.New("not found")),
			"False NoSource: not found", time.Minute,
		},
		"Awaiting": {
			"what is awaited is told",
			conditions{meta.ArtifactInStorageCondition: yes}, engine.Await(time.Minute, "building artifact"),
			"Unknown Progressing: building artifact", time.Minute,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			k := engine.Kind[*sourcev1.GitRepository, scope]{
				Name: "GitRepository", Controller: "source-controller",
				New:      func() *sourcev1.GitRepository { return &sourcev1.GitRepository{} },
				Interval: func(*sourcev1.GitRepository) time.Duration { return time.Hour },
				Ready: engine.FromConditions[*sourcev1.GitRepository, scope](
					[]string{
						meta.StorageOperationFailedCondition, meta.FetchFailedCondition, meta.IncludeUnavailableCondition,
						meta.ArtifactOutdatedCondition,
					},
					[]string{meta.ArtifactInStorageCondition, meta.SourceVerifiedCondition},
				),
				Steps: engine.Steps[*sourcev1.GitRepository, scope]{{
					Reason: "ActFailed",
					Run: func(_ context.Context, obj *sourcev1.GitRepository, _ *scope) error {
						for typ, status := range tc.have {
							engine.Set(obj, typ, status, typ+"Reason", typ+" is "+string(status))
						}

						return tc.err
					},
				}},
			}

			obj := &sourcev1.GitRepository{}
			obj.Namespace, obj.Name = "apps", "podinfo"

			got := enginetest.Run(t, k, obj)
			if have := ready(got.Object); have != tc.want {
				t.Errorf("\n%s\nReady: want %q, got %q", tc.reason, tc.want, have)
			}

			if got.Result.RequeueAfter != tc.queued {
				t.Errorf("\n%s\nrequeue: want %s, got %s", tc.reason, tc.queued, got.Result.RequeueAfter)
			}

			if reconciling := engine.IsTrue(got.Object, meta.ReconcilingCondition); reconciling != (tc.queued == minRetry || name == "Awaiting") {
				t.Errorf("\n%s\nReconciling is %v", tc.reason, reconciling)
			}
		})
	}
}
