package instance

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestExamine(t *testing.T) {
	start := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	waiting := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "what it says may be a secret"}}
	}
	ended := func(code int32, reason string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: code, Reason: reason, Message: "what it says may be a secret",
		}}
	}
	container := func(restarts int32, state, last corev1.ContainerState) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Name: "manager", Image: "r/weir:v2", RestartCount: restarts, State: state, LastTerminationState: last,
		}}}
	}
	type result struct {
		Text  string
		Fatal bool
	}
	tests := map[string]struct {
		reason string
		status corev1.PodStatus
		after  time.Duration
		want   result
	}{
		"Starting": {
			reason: "A container that is about to start is no trouble.",
			status: container(0, waiting("ContainerCreating"), corev1.ContainerState{}),
		},
		"EndedOnce": {
			reason: "A controller may come up before what it needs.",
			status: container(1, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, ended(1, "Error")),
			want:   result{`pod "p": container "manager" keeps ending, last with exit code 1 (Error)`, false},
		},
		"Crashing": {
			reason: "Who has ended three times ends again. Its own words are left out.",
			status: container(3, waiting("CrashLoopBackOff"), ended(2, "Error")),
			want:   result{`pod "p": container "manager" keeps ending, last with exit code 2 (Error)`, true},
		},
		"OutOfMemory": {
			reason: "The reason says more than the code.",
			status: container(4, ended(137, "OOMKilled"), corev1.ContainerState{}),
			want:   result{`pod "p": container "manager" keeps ending, last with exit code 137 (OOMKilled)`, true},
		},
		"Pulling": {
			reason: "A registry may be away for a moment.",
			status: container(0, waiting("ImagePullBackOff"), corev1.ContainerState{}), after: 59 * time.Second,
			want: result{`pod "p": container "manager" does not start: image "r/weir:v2" cannot be pulled`, false},
		},
		"NotPulled": {
			reason: "For a moment.",
			status: container(0, waiting("ErrImagePull"), corev1.ContainerState{}), after: time.Minute,
			want: result{`pod "p": container "manager" does not start: image "r/weir:v2" cannot be pulled`, true},
		},
		"InvalidImage": {
			reason: "A name that is none never becomes one.",
			status: container(0, waiting("InvalidImageName"), corev1.ContainerState{}),
			want:   result{`pod "p": container "manager" does not start: InvalidImageName: image "r/weir:v2"`, true},
		},
		"NoSecret": {
			reason: "What a container needs may come a moment later.",
			status: container(0, waiting("CreateContainerConfigError"), corev1.ContainerState{}), after: time.Hour,
			want: result{`pod "p": container "manager" does not start: CreateContainerConfigError`, true},
		},
		"Init": {
			reason: "A container that comes before the others keeps them from starting.",
			status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{
				Name: "init", RestartCount: 5, State: waiting("CrashLoopBackOff"), LastTerminationState: ended(1, ""),
			}}},
			want: result{`pod "p": container "init" keeps ending, last with exit code 1`, true},
		},
		"Unscheduled": {
			reason: "A node may come.",
			status: corev1.PodStatus{Conditions: []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/1 nodes are available",
			}}},
			after: time.Hour,
			want:  result{`pod "p" is not scheduled: 0/1 nodes are available`, false},
		},
		"Ready": {
			reason: "A pod that is ready now is no trouble, whatever it has been through.",
			status: corev1.PodStatus{
				Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
				ContainerStatuses: []corev1.ContainerStatus{{RestartCount: 9, LastTerminationState: ended(1, "Error")}},
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", CreationTimestamp: metav1.NewTime(start)}, Status: tc.status}
			got, ok := examine(pod, start.Add(tc.after))
			if ok != (tc.want.Text != "") {
				t.Errorf("%s got %+v", tc.reason, got)
			}
			if diff := cmp.Diff(tc.want, result{got.text, got.fatal}); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
