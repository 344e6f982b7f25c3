package distribution

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// choices are the options of an instance, one by one.
func choices() map[string]string {
	return map[string]string{
		"AllComponents":  `components: [source-controller, kustomize-controller, helm-controller, notification-controller, image-reflector-controller, image-automation-controller, source-watcher]`,
		"FewComponents":  `components: [source-controller, kustomize-controller]`,
		"Unified":        `topology: Unified`,
		"Multitenant":    `cluster: {multitenant: true, tenantDefaultServiceAccount: tenant}`,
		"Identity":       `cluster: {objectLevelWorkloadIdentity: true}`,
		"TenantIdentity": `cluster: {objectLevelWorkloadIdentity: true, multitenantWorkloadIdentity: true}`,
		"NoPolicies":     `cluster: {networkPolicy: false}`,
		"OpenShift":      `cluster: {type: openshift}`,
		"AWS":            `cluster: {type: aws}`,
		"Small":          `cluster: {size: small}`,
		"Medium":         `cluster: {size: medium}`,
		"Large":          `cluster: {size: large}`,
		"Domain":         `cluster: {domain: example.com}`,
		"Mirror":         `distribution: {registry: mirror.example.com, imagePullSecret: mirror}`,
		"FIPS":           `distribution: {variant: enterprise-distroless-fips}`,
		"Shard":          `sharding: {shards: [blue]}`,
		"ShardVolumes":   `{sharding: {shards: [green], storage: persistent}, storage: {class: fast, size: 1Gi}}`,
		"Storage":        `storage: {class: fast, size: 1Gi}`,
		"Metadata":       `commonMetadata: {labels: {team: a}, annotations: {note: b}}`,
		"Git":            `sync: {kind: GitRepository, url: "https://git.example.com/fleet", ref: refs/heads/main, path: ./}`,
		"OCI":            `sync: {kind: OCIRepository, url: "oci://registry.example.com/fleet", ref: latest, path: ./}`,
		"Bucket":         `sync: {kind: Bucket, url: s3.example.com, ref: fleet, path: ./}`,
		"Decrypted":      `syncs: [{name: secret, kind: GitRepository, url: "https://git.example.com/s", ref: refs/heads/main, path: ./, wait: true, verify: {secretRef: {name: keys}}, decryption: {provider: sops, secretRef: {name: age}}}]`,
		"Syncs":          `syncs: [{name: addons, kind: OCIRepository, url: "oci://registry.example.com/addons", ref: stable, path: ./}]`,
		"Replicas":       `workloads: [{components: [kustomize-controller], replicas: 2}]`,
		"Placement":      `workloads: [{nodeSelector: {pool: a}, priorityClassName: "", tolerations: [{key: a, operator: Exists}]}]`,
		"Arguments":      `workloads: [{logLevel: debug, args: [--concurrent=7], featureGates: {OOMWatch: true}}]`,
		"Resources":      `workloads: [{resources: {limits: {memory: 5Gi}}}]`,
		"Lease":          `workloads: [{leaderElection: {leaseDuration: 60s, renewDeadline: 40s, retryPeriod: 10s}}]`,
		"Affinity":       `workloads: [{components: [kustomize-controller], affinity: {podAntiAffinity: {}}}]`,
		"Budget":         `workloads: [{components: [source-controller], podDisruptionBudget: {maxUnavailable: 1}}]`,
		"Patch":          `kustomize: {patches: [{target: {kind: Deployment}, patch: '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--patched"}]'}]}`,
	}
}

// TestTogether builds every pair of options. A pair gives what both give alone; where it gives something else, since one has to
// heed the other, testdata/together.txt says what.
func TestTogether(t *testing.T) {
	d := load(t)
	plain, alone := facts(t, d), map[string]map[string]string{}
	names := slices.Sorted(maps.Keys(choices()))
	for _, name := range names {
		alone[name] = facts(t, d, name)
	}
	var b bytes.Buffer
	for i, one := range names {
		for _, other := range names[i+1:] {
			if exclusive(t, one, other) {
				continue
			}
			differences := compare(sum(plain, alone[one], alone[other]), facts(t, d, one, other))
			if len(differences) > 0 {
				fmt.Fprintf(&b, "%s and %s\n%s", one, other, strings.Join(differences, ""))
			}
		}
	}
	golden(t, "testdata/together.txt", b.Bytes())
}

// exclusive tells whether both options set the same field. Entries of spec.workloads add up.
func exclusive(t *testing.T, one, other string) bool {
	t.Helper()
	a, b := fields(t, choices()[one]), fields(t, choices()[other])
	return slices.ContainsFunc(a, func(field string) bool { return field != "workloads" && slices.Contains(b, field) })
}

func fields(t *testing.T, fragment string) []string {
	t.Helper()
	spec := map[string]any{}
	if err := yaml.Unmarshal([]byte(fragment), &spec); err != nil {
		t.Fatal(err)
	}
	var names []string
	for key, value := range spec {
		below, ok := value.(map[string]any)
		if !ok || key == "sync" {
			names = append(names, key)
			continue
		}
		for name := range below {
			names = append(names, key+"."+name)
		}
	}
	return names
}

// facts builds the default instance with the options, and takes its objects apart.
func facts(t *testing.T, d *Distribution, names ...string) map[string]string {
	t.Helper()
	instance := read(t, base)
	workloads := instance.Spec.Workloads
	for _, option := range names {
		instance.Spec.Workloads = nil
		if err := yaml.UnmarshalStrict([]byte(choices()[option]), &instance.Spec); err != nil {
			t.Fatal(err)
		}
		workloads = append(workloads, instance.Spec.Workloads...)
	}
	instance.Spec.Workloads = workloads
	set, err := d.Build(instance, options(t))
	if err != nil {
		t.Fatalf("%v: %v", names, err)
	}
	all := map[string]string{}
	for _, o := range set.Objects {
		for path, value := range takeApart(o) {
			all[o.GetKind()+"/"+o.GetName()+" "+path] = value
		}
	}
	return all
}

// takeApart returns the values of an object by their paths. An element of a list is known by its name, or else by what it is.
func takeApart(o *unstructured.Unstructured) map[string]string {
	values := map[string]string{}
	var visit func(path string, value any)
	visit = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, below := range value {
				visit(path+"."+key, below)
			}
		case []any:
			for _, element := range value {
				visit(path+"["+elementName(element)+"]", element)
			}
		default:
			if gates, ok := strings.CutPrefix(fmt.Sprint(value), "--feature-gates="); ok {
				for gate := range strings.SplitSeq(gates, ",") {
					name, on, _ := strings.Cut(gate, "=")
					values[strings.TrimPrefix(path, ".")+"."+name] = on
				}
				return
			}
			values[strings.TrimPrefix(path, ".")] = fmt.Sprint(value)
		}
	}
	visit("", o.Object)
	return values
}

func elementName(element any) string {
	switch element := element.(type) {
	case string:
		if strings.HasPrefix(element, "--") {
			return "--" + nameOf(element)
		}
		return element
	case map[string]any:
		if name, ok := element["name"].(string); ok {
			return name
		}
	}
	content, err := json.Marshal(element)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// sum adds what both change to what is plain. What one takes away, the other does not bring back.
func sum(plain, one, other map[string]string) map[string]string {
	all := maps.Clone(plain)
	for _, option := range []map[string]string{one, other} {
		for path, value := range option {
			if before, found := plain[path]; !found || before != value {
				all[path] = value
			}
		}
	}
	for path := range all {
		_, before := plain[path]
		_, inOne := one[path]
		_, inOther := other[path]
		object, _, _ := strings.Cut(path, " ")
		if before && (!inOne || !inOther) || gone(object, plain, one) || gone(object, plain, other) {
			delete(all, path)
		}
	}
	return all
}

// gone tells whether an object is no longer there.
func gone(object string, before, after map[string]string) bool {
	kind := object + " kind"
	_, was := before[kind]
	_, is := after[kind]
	return was && !is
}

// compare tells where two differ, once for all objects that differ alike.
func compare(want, got map[string]string) []string {
	paths := maps.Clone(want)
	maps.Copy(paths, got)
	objects := map[string][]string{}
	for path := range paths {
		object, field, _ := strings.Cut(path, " ")
		if difference := differ(want, got, path, field); difference != "" && !slices.Contains(objects[difference], object) {
			objects[difference] = append(objects[difference], object)
		}
	}
	together := map[string][]string{}
	for field, names := range objects {
		slices.Sort(names)
		key := strings.Join(names, ", ")
		together[key] = append(together[key], field)
	}
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(together)) {
		slices.Sort(together[key])
		lines = append(lines, fmt.Sprintf("  %s\n    %s\n", key, strings.Join(together[key], "\n    ")))
	}
	return lines
}

// differ tells how a field differs. Of an object that is new, or gone, all fields are told as one: there is a case for it.
func differ(want, got map[string]string, path, field string) string {
	object, _, _ := strings.Cut(path, " ")
	expected, wanted := want[path]
	value, found := got[path]
	switch {
	case gone(object, got, want):
		return "+ the object"
	case gone(object, want, got):
		return "- the object"
	case expected == value && wanted == found:
		return ""
	case !wanted:
		return fmt.Sprintf("+ %s: %s", field, value)
	case !found:
		return fmt.Sprintf("- %s: %s", field, expected)
	default:
		return fmt.Sprintf("~ %s: %s in place of %s", field, value, expected)
	}
}
