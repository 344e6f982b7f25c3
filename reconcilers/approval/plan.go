package approval

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
)

// maxText bounds the text of a plan, in bytes: a ConfigMap holds a mebibyte.
const maxText = 900 << 10

// Plan is what people get to see.
type Plan struct {
	// Namespace and Name of the ConfigMap.
	Namespace, Name string

	// Owner is the object of that namespace that the plan is about, and goes with.
	Owner metav1.OwnerReference

	// Label has the name of the owner as its value. A ConfigMap without it is not a plan, and is left alone.
	Label string

	// Manager is the field manager.
	Manager string

	// Digest of all that the plan is about, and Revision that it leads to.
	Digest, Revision string

	// Text for people, without secrets. It is cut, and says so, where a ConfigMap does not take it.
	Text string
}

// Write sees to it that the ConfigMap has the plan.
func (p Plan) Write(ctx context.Context, c *access.Client) error {
	ref := access.Ref{ID: access.ID{Kind: "ConfigMap", Namespace: p.Namespace, Name: p.Name}, Version: "v1"}
	data := map[string]string{"digest": p.Digest, "revision": p.Revision, "plan": cut(p.Text)}

	live, err := c.Get(ctx, ref)

	switch {
	case err == nil && live.GetLabels()[p.Label] != p.Owner.Name:
		return fmt.Errorf("%s exists, and is not a plan", ref.ID)
	case err == nil && holds(live.Object["data"], data):
		return nil
	case err != nil && !apierrors.IsNotFound(err):
		return err
	}

	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{
			"name": p.Name, "namespace": p.Namespace, "labels": map[string]string{p.Label: p.Owner.Name},
			"ownerReferences": []any{p.Owner},
		},
		"data": data,
	})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}

	_, err = c.Apply(ctx, ref, body, access.ApplyOptions{Manager: p.Manager, Force: true})

	return err
}

// holds tells whether the data of a ConfigMap are these.
func holds(live any, want map[string]string) bool {
	have, _ := live.(map[string]any)
	for key, value := range want {
		if have[key] != value {
			return false
		}
	}

	return len(have) == len(want)
}

// cut cuts a text that is too long at the end of a line, and says so.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}

	end := strings.LastIndexByte(text[:maxText], '\n') + 1

	return text[:end] + fmt.Sprintf("... and %d lines more\n", strings.Count(text[end:], "\n"))
}

// Within tells whether all that is left to do was approved. An object that somebody has changed since is another thing to do.
func Within(left, approved []string) bool {
	return !slices.ContainsFunc(left, func(part string) bool { return !slices.Contains(approved, part) })
}

// Counts says how many objects a plan is about.
func Counts(changes apply.Changes) string {
	n := map[apply.Action]int{}
	for _, c := range changes {
		n[c.Action]++
	}

	return fmt.Sprintf("%d created, %d configured, %d deleted", n[apply.Created], n[apply.Configured], n[apply.Deleted])
}
