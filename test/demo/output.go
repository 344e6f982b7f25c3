package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/fleet"
)

// quiet is how long nothing may be said while waiting, lest people think that nothing happens.
const quiet = 15 * time.Second

// output is what people see.
type output struct{ w io.Writer }

func (o *output) linef(format string, args ...any) { fmt.Fprintf(o.w, format+"\n", args...) }

// step says what is done, and when it is, how long it took.
func (o *output) step(what string, do func() (string, error)) error {
	fmt.Fprintf(o.w, "• %s …", what)

	start := time.Now()

	result, err := do()
	if err != nil {
		o.linef(" failed")

		return err
	}

	if result != "" {
		result = ": " + result
	}

	o.linef(" %.1f s%s", time.Since(start).Seconds(), result)

	return nil
}

// news tells once for each object what became of it.
type news struct {
	out   *output
	start time.Time
	last  time.Time
	told  map[string]string
}

func (o *output) news() *news {
	return &news{out: o, start: time.Now(), last: time.Now(), told: map[string]string{}}
}

// tell says something about an object, unless it was said before.
func (n *news) tell(subject, what string) {
	if n.told[subject] == what {
		return
	}

	n.told[subject], n.last = what, time.Now()
	n.out.linef("  %5.1f s  %s %s", time.Since(n.start).Seconds(), subject, what)
}

// waiting says what is missing, if nothing was said for a while.
func (n *news) waiting(err error) {
	if time.Since(n.last) < quiet {
		return
	}

	n.last = time.Now()
	first, _, more := strings.Cut(err.Error(), "\n")

	if more {
		first += " …"
	}

	n.out.linef("  %5.1f s  still waiting: %s", time.Since(n.start).Seconds(), first)
}

// row is a line of the table.
type row struct{ kind, name, ready, status string }

// table shows what the cluster holds.
func (o *output) table(rows []row) {
	w := tabwriter.NewWriter(o.w, 0, 0, 2, ' ', 0) //nolint:mnd // two blanks between columns
	fmt.Fprintln(w, "  KIND\tNAME\tREADY\tREVISION OR STATUS")

	for _, r := range rows {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", r.kind, r.name, r.ready, r.status)
	}

	_ = w.Flush() //nolint:errcheck // to the terminal
}

// maintenanceWindow is the custom resource of the fleet.
func maintenanceWindow() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "fleet.example.com", Version: "v1", Kind: "MaintenanceWindow"}
}

// rows are what the demo has brought: the instance and its components, the fleet's sources, deliveries and workloads.
func rows(s platform.Snapshot, components [][2]string) []row {
	result := []row{
		describe(s, platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName, "status", "lastAppliedRevision"),
	}

	for _, key := range components {
		result = append(result, describe(s, platform.Deployment(), key[0], key[1]))
	}

	result = append(result,
		describe(s, platform.GitRepository(), platform.Namespace, "flux-system", "status", "artifact", "revision"),
		describe(s, platform.Kustomization(), platform.Namespace, "flux-system", "status", "lastAppliedRevision"))

	for _, key := range fleet.Kustomizations() {
		result = append(result, describe(s, platform.Kustomization(), key[0], key[1], "status", "lastAppliedRevision"))
	}

	for _, key := range fleet.Deployments() {
		result = append(result, describe(s, platform.Deployment(), key[0], key[1]))
	}

	return append(result, describe(s, maintenanceWindow(), "", "weekly", "spec", "start"))
}

// describe makes a row of an object; its status is a field, or what the Deployment says.
func describe(s platform.Snapshot, kind schema.GroupVersionKind, namespace, name string, field ...string) row {
	o := s.Get(kind, namespace, name)
	r := row{kind: kind.Kind, name: strings.TrimPrefix(namespace+"/"+name, "/"), ready: "True"}

	if err := platform.Current(o, r.name); err != nil {
		r.ready, r.status = "False", err.Error()

		return r
	}

	if kind.Kind == "Deployment" {
		r.status = replicas(o)

		return r
	}

	r.status = short(platform.Text(o, field...))

	return r
}

func replicas(o *unstructured.Unstructured) string {
	want := platform.Number(o, "spec", "replicas")

	return fmt.Sprintf("%d of %d pods, %s", platform.Number(o, "status", "readyReplicas"), want, short(imageOf(o)))
}

// imageOf returns the image that the Deployment runs.
func imageOf(o *unstructured.Unstructured) string {
	containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers") //nolint:errcheck // then there is none
	for _, c := range containers {
		if fields, ok := c.(map[string]any); ok {
			return fmt.Sprint(fields["image"])
		}
	}

	return ""
}

// short cuts the long digest of a revision or an image.
func short(revision string) string {
	const digits = 8

	if i := strings.LastIndexByte(revision, ':'); i >= 0 && len(revision) > i+1+40-1 {
		return revision[:i+1+digits]
	}

	return revision
}
