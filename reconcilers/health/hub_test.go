package health

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "k8s.io/apimachinery/pkg/util/json"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/weir-dev/weir/reconcilers/access"
)

const key0 = "kustomize.toolkit.fluxcd.io/name"

// deploymentJSON is a Deployment as an API server sends it.
func deploymentJSON(name, version string, ready int) []byte {
	return fmt.Appendf(nil, `{"metadata":{"name":%q,"namespace":"apps","uid":"8a1b","resourceVersion":%q,"generation":2,
"creationTimestamp":"2026-01-01T00:00:00Z","labels":{"app.kubernetes.io/name":"app","kustomize.toolkit.fluxcd.io/name":"app","kustomize.toolkit.fluxcd.io/namespace":"apps"},
"annotations":{"deployment.kubernetes.io/revision":"1","kubectl.kubernetes.io/last-applied-configuration":"{\"a\":1}","esc\"aped":"x\u003cy"},
"managedFields":[{"manager":"kustomize-controller","operation":"Apply","apiVersion":"apps/v1","time":"2026-01-01T00:00:01Z","fieldsType":"FieldsV1","fieldsV1":
{"f:metadata":{"f:labels":{"f:app.kubernetes.io/name":{},"f:kustomize.toolkit.fluxcd.io/name":{},"f:kustomize.toolkit.fluxcd.io/namespace":{}}},"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:env":{"k:{\"name\":\"A\u003cB\u003e\u0026C\"}":{".":{},"f:name":{},"f:value":{}}},"f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":8080,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{}}},"f:resources":{"f:limits":{"f:cpu":{},"f:memory":{}},"f:requests":{"f:cpu":{},"f:memory":{}}}}}}}}}},
{"manager":"kube-controller-manager","operation":"Update","apiVersion":"apps/v1","time":"2026-01-01T00:00:02Z","fieldsType":"FieldsV1","fieldsV1":{"f:status":{"f:availableReplicas":{},"f:conditions":{".":{},"k:{\"type\":\"Available\"}":{".":{},"f:status":{}}}}},"subresource":"status"}]},
"spec":{"replicas":1,"selector":{"matchLabels":{"app":"app"}},"template":{"metadata":{"creationTimestamp":null,"labels":{"app":"app"}},"spec":{"containers":[{"name":"app","image":"app:1","ports":[{"name":"http","containerPort":8080,"protocol":"TCP"}],"resources":{"limits":{"cpu":"1","memory":"64Mi"},"requests":{"cpu":"10m","memory":"64Mi"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler"}},"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"25%%","maxSurge":"25%%"}},"revisionHistoryLimit":10,"progressDeadlineSeconds":600},
"status":{"observedGeneration":2,"replicas":1,"updatedReplicas":1,"readyReplicas":%[3]d,"availableReplicas":%[3]d,"conditions":[{"type":"Available","status":"True","lastUpdateTime":"2026-01-01T00:00:03Z","lastTransitionTime":"2026-01-01T00:00:03Z","reason":"MinimumReplicasAvailable","message":"Deployment has minimum availability."},{"type":"Progressing","status":"True","lastUpdateTime":"2026-01-01T00:00:03Z","lastTransitionTime":"2026-01-01T00:00:03Z","reason":"NewReplicaSetAvailable","message":"ReplicaSet has successfully progressed."}]}}`, name, version, ready)
}

func deployments() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
}

func TestSee(t *testing.T) {
	raw := deploymentJSON("app", "7", 1)
	s, err := see(access.Item{Raw: raw})
	if err != nil {
		t.Fatal(err)
	}
	s.assess(deployments())

	var whole metav1.PartialObjectMetadata
	if err := json.Unmarshal(raw, &whole); err != nil {
		t.Fatal(err)
	}
	want := Of(&whole.ObjectMeta)
	want.Status, want.Message = status.CurrentStatus, "Deployment is available. Replicas: 1"
	if diff := cmp.Diff(want, s.live); diff != "" {
		t.Errorf("the short way reads what the long way does (-want +got):\n%s", diff)
	}
	if len(s.live.Managers) != 1 || s.live.Annotations[LastApplied] != "" || s.live.Annotations[`esc"aped`] != "x<y" {
		t.Errorf("read %+v", s.live)
	}
	u := &unstructured.Unstructured{}
	if err := kjson.Unmarshal(raw, &u.Object); err != nil {
		t.Fatal(err)
	}
	u.SetGroupVersionKind(deployments())
	st, message, err := compute(u)
	if err != nil || st != s.live.Status || message != s.live.Message {
		t.Errorf("the whole object has status %q: %q, %v", st, message, err)
	}
}

// TestStatuses holds that the parts that are decoded are enough for the rules of each kind.
func TestStatuses(t *testing.T) {
	cases := map[string]struct {
		reason, group, kind, object string
		want                        status.Status
	}{
		"JobStarted":   {"a Job that runs is not done", "batch", "Job", `{"status":{"startTime":"2026-01-01T00:00:00Z","active":1}}`, status.InProgressStatus},
		"JobComplete":  {"one that is complete is", "batch", "Job", `{"spec":{"completions":1},"status":{"startTime":"2026-01-01T00:00:00Z","conditions":[{"type":"Complete","status":"True"}]}}`, status.CurrentStatus},
		"JobFailed":    {"one that failed has failed", "batch", "Job", `{"status":{"conditions":[{"type":"Failed","status":"True"}]}}`, status.FailedStatus},
		"OnDelete":     {"the update strategy of a StatefulSet counts", "apps", "StatefulSet", `{"spec":{"replicas":3,"updateStrategy":{"type":"OnDelete"}},"status":{}}`, status.CurrentStatus},
		"Partition":    {"with its partition", "apps", "StatefulSet", `{"spec":{"replicas":3,"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":2}}},"status":{"replicas":3,"readyReplicas":3,"updatedReplicas":1}}`, status.CurrentStatus},
		"DaemonSet":    {"a DaemonSet has to be observed", "apps", "DaemonSet", `{"metadata":{"generation":1},"status":{}}`, status.InProgressStatus},
		"Definition":   {"a definition has to be established", "apiextensions.k8s.io", "CustomResourceDefinition", `{"status":{"conditions":[{"type":"Established","status":"True"}]}}`, status.CurrentStatus},
		"Installing":   {"until then it is not", "apiextensions.k8s.io", "CustomResourceDefinition", `{}`, status.InProgressStatus},
		"Ready":        {"others by their conditions", "example.com", "Gadget", `{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`, status.InProgressStatus},
		"Stalled":      {"which may be final", "example.com", "Gadget", `{"status":{"conditions":[{"type":"Stalled","status":"True"}]}}`, status.FailedStatus},
		"Observed":     {"once they are of this generation", "example.com", "Gadget", `{"metadata":{"generation":2},"status":{"observedGeneration":1,"conditions":[{"type":"Ready","status":"True"}]}}`, status.InProgressStatus},
		"NoConditions": {"without any, they are current", "example.com", "Gadget", `{"spec":[1]}`, status.CurrentStatus},
		"Deleting":     {"but not when they go", "example.com", "Gadget", `{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"}}`, status.TerminatingStatus},
		"Claim":        {"a claim has a phase", "", "PersistentVolumeClaim", `{"status":{"phase":"Bound"}}`, status.CurrentStatus},
		"Garbage":      {"what cannot be read is unknown", "example.com", "Gadget", `{"status":{"conditions":5}}`, status.UnknownStatus},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := see(access.Item{Raw: []byte(c.object)})
			if err != nil {
				t.Fatal(err)
			}
			s.assess(schema.GroupVersionKind{Group: c.group, Version: "v1", Kind: c.kind})
			if s.live.Status != c.want {
				t.Errorf("%s: got %q: %s", c.reason, s.live.Status, s.live.Message)
			}
		})
	}
}

func TestSecretsAreReadAsMetadataOnly(t *testing.T) {
	for _, gk := range []schema.GroupKind{{Kind: "Secret"}, {Kind: "ConfigMap"}, {Group: "rbac.authorization.k8s.io", Kind: "Role"}, {Group: "batch", Kind: "CronJob"}} {
		if !bare(gk) {
			t.Errorf("%s is read whole", gk)
		}
	}
	for _, gk := range []schema.GroupKind{{Group: "apps", Kind: "Deployment"}, {Group: "networking.k8s.io", Kind: "Ingress"}, {Kind: "Pod"}, {Group: "x", Kind: "Secret"}} {
		if bare(gk) {
			t.Errorf("%s is read as metadata", gk)
		}
	}
}

func TestFingerprintsAreTheSameInAllFormats(t *testing.T) {
	const plain, escaped = `{"f:a<b>&c":{}}`, `{"f:a\u003cb\u003e\u0026c":{}}`
	if fingerprint([]byte(plain)) != fingerprint([]byte(escaped)) {
		t.Error("escaping makes a difference")
	}
	if fingerprint([]byte(plain)) == fingerprint([]byte(`{}`)) {
		t.Error("fields make none")
	}
}

// still is a hub that watches nothing: events come from the test.
func still(t testing.TB, c *clocktesting.FakeClock) *Hub {
	t.Helper()
	h := New(nil, Options{Wake: func(access.ID, Cause) {}, Clock: c})
	h.closed = true
	t.Cleanup(h.stop)
	return h
}

func TestWatchesCloseWhenNobodyIsInterested(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Unix(0, 0))
	h := still(t, clock)
	owner := access.ID{Kind: "Kustomization", Name: "app"}
	ids := []access.ID{{Kind: "ConfigMap", Namespace: "apps", Name: "a"}, {Group: "apps", Kind: "Deployment", Namespace: "apps", Name: "b"}}
	h.Track(owner, key0, ids)
	h.Check(owner, Checks{Named: []access.ID{{Kind: "ConfigMap", Namespace: "apps", Name: "c"}}})
	if len(h.feeds) != 3 {
		t.Fatalf("%d watches", len(h.feeds))
	}
	h.Track(owner, key0, ids[:1])
	h.Check(owner, Checks{})
	clock.Step(closeDelay - 1)
	h.Track(owner, key0, ids) // comes back in time
	clock.Step(closeDelay)
	if len(h.feeds) != 2 {
		t.Errorf("%d watches, not the two that somebody is interested in", len(h.feeds))
	}
	h.Untrack(owner)
	clock.Step(closeDelay)
	if len(h.feeds) != 0 || len(h.owners) != 0 {
		t.Errorf("%d watches and %d owners are left", len(h.feeds), len(h.owners))
	}
}

// TestTrackAgain holds that what is declared twice changes nothing, and that the sets are replaced.
func TestTrackAgain(t *testing.T) {
	h := still(t, clocktesting.NewFakeClock(time.Unix(0, 0)))
	owner, other := access.ID{Kind: "Kustomization", Name: "app"}, access.ID{Kind: "Kustomization", Name: "other"}
	id := func(name string) access.ID { return access.ID{Kind: "ConfigMap", Namespace: "apps", Name: name} }
	h.Track(owner, key0, []access.ID{id("a"), id("b")})
	h.Track(owner, key0, []access.ID{id("b"), id("a")})
	h.Track(other, key0, []access.ID{id("b")})
	f := h.feeds[labelled(schema.GroupKind{Kind: "ConfigMap"}, key0)]
	if f.refs != 3 || len(f.objects) != 2 {
		t.Errorf("%d interests in %d objects", f.refs, len(f.objects))
	}
	h.Track(owner, key0, []access.ID{id("c")})
	if f.refs != 2 || len(f.objects) != 2 || len(f.objects[key{"apps", "b"}].watchers) != 1 {
		t.Errorf("%d interests in %d objects", f.refs, len(f.objects))
	}
	h.Track(owner, "fluxcd.controlplane.io/name", []access.ID{id("c")})
	if f.refs != 1 || len(h.feeds) != 2 {
		t.Errorf("another label is another watch: %d interests, %d watches", f.refs, len(h.feeds))
	}
}

// TestGoneUnseen holds that observers hear of an object that was written and is gone before the watch, which was lost, has shown it.
func TestGoneUnseen(t *testing.T) {
	owner := access.ID{Kind: "Kustomization", Name: "app"}
	id := access.ID{Kind: "ConfigMap", Namespace: "apps", Name: "a"}
	cases := map[string]struct {
		reason string
		steps  func(h *Hub, f *feed)
		want   int
	}{
		"Listed": {
			"it was written while the watch was lost", func(h *Hub, f *feed) {
				h.listed(f, nil, 5, "v1")
				h.Expect(id, key0, "10")
				h.listed(f, nil, 12, "v1")
				h.listed(f, nil, 13, "v1")
			}, 1,
		},
		"ListedAfterOthers": {
			"others of the list are younger", func(h *Hub, f *feed) {
				h.listed(f, nil, 5, "v1")
				h.Expect(id, key0, "10")
				other := seen{gvk: deployments()}
				other.key, other.live.ResourceVersion = key{"apps", "b"}, "11"
				if err := h.show(f, other); err != nil {
					t.Error(err)
				}
				h.listed(f, map[key]struct{}{other.key: {}}, 12, "v1")
			}, 1,
		},
		"ListedFirst": {
			"it was written before there was a watch", func(h *Hub, f *feed) {
				h.Expect(id, key0, "10")
				h.listed(f, nil, 12, "v1")
			}, 1,
		},
		"Marked": {
			"what the watch tells is so far ahead that it would have shown it", func(h *Hub, f *feed) {
				h.listed(f, nil, 5, "v1")
				h.Expect(id, key0, "10")
				h.mark(f, 12)
				h.mark(f, 13)
			}, 1,
		},
		"Behind": {
			"what is listed is older", func(h *Hub, f *feed) {
				h.Expect(id, key0, "10")
				h.listed(f, nil, 9, "v1")
				h.mark(f, 9)
			}, 0,
		},
		"NeverWritten": {
			"it is only going to be written", func(h *Hub, f *feed) {
				h.listed(f, nil, 12, "v1")
				h.mark(f, 13)
			}, 0,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h := still(t, clocktesting.NewFakeClock(time.Unix(0, 0)))
			told := 0
			h.Observe(func(_, _ access.ID, live *Live) {
				if live == nil {
					told++
				}
			})
			h.Track(owner, key0, []access.ID{id})
			tc.steps(h, h.feeds[labelled(id.GroupKind(), key0)])
			if told != tc.want {
				t.Errorf("%s: it is told %d times, want %d", tc.reason, told, tc.want)
			}
		})
	}
}

func BenchmarkEvent(b *testing.B) {
	h := still(b, clocktesting.NewFakeClock(time.Unix(0, 0)))
	h.Observe(func(_, _ access.ID, _ *Live) {})
	const objects = 3000
	raws := make([][]byte, objects)
	for i := range objects {
		name := fmt.Sprintf("app-%d", i)
		h.Track(access.ID{Kind: "Kustomization", Name: name}, key0, []access.ID{{Group: "apps", Kind: "Deployment", Namespace: "apps", Name: name}})
		raws[i] = deploymentJSON(name, "7", 1)
	}
	f := h.feeds[labelled(deployments().GroupKind(), key0)]
	b.Run("full", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s, err := f.look(access.Item{Raw: raws[i%objects]}, deployments())
			if err != nil {
				b.Fatal(err)
			}
			if err := h.show(f, s); err != nil {
				b.Fatal(err)
			}
		}
	})
	var m metav1.PartialObjectMetadata
	if err := json.Unmarshal(raws[0], &m); err != nil {
		b.Fatal(err)
	}
	b.Run("metadata", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s, err := f.look(access.Item{Meta: &m}, deployments())
			if err != nil {
				b.Fatal(err)
			}
			if err := h.show(f, s); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode-for-comparison", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			u := &unstructured.Unstructured{}
			if err := json.Unmarshal(raws[i%objects], &u.Object); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTrackUnchanged(b *testing.B) {
	h := still(b, clocktesting.NewFakeClock(time.Unix(0, 0)))
	owner := access.ID{Kind: "Kustomization", Name: "app"}
	ids := make([]access.ID, 1000)
	for i := range ids {
		ids[i] = access.ID{Kind: "ConfigMap", Namespace: "apps", Name: fmt.Sprint(i)}
	}
	h.Track(owner, key0, ids)
	for b.Loop() {
		h.Track(owner, key0, ids)
	}
}
