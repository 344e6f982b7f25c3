package build

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"
	k8syaml "sigs.k8s.io/yaml"
)

// maxPluginDepth bounds the directories in which the configurations of plugins may be nested.
const maxPluginDepth = 16

// checkKustomization returns the kustomization of a file, and refuses one that would make the library fetch something or
// run a program. It looks at the same bytes, through the same decoder, as the library does right after. Content that does not
// decode is left to the library, which cannot use it either.
func (t *tree) checkKustomization(file string, data []byte) (*types.Kustomization, error) {
	k := &types.Kustomization{}
	if err := k.Unmarshal(data); err != nil {
		return nil, nil //nolint:nilerr,nilnil // The library fails on it with the better message.
	}

	k.FixKustomization()

	if len(k.OpenAPI) > 0 && !t.alone {
		return nil, errOwnSchema
	}

	if err := t.check(file, k, data); err != nil {
		return nil, err
	}

	if err := t.spent.kustomization(k, t.reader(file)); err != nil {
		return nil, fmt.Errorf("read %q: %w", file, err)
	}

	return k, nil
}

func (t *tree) check(file string, k *types.Kustomization, data []byte) error {

	if len(k.HelmCharts) > 0 || k.HelmGlobals != nil {
		return &RefusedError{File: file, What: "a Helm chart", Why: "charts are deployed by a HelmRelease"}
	}

	if err := t.checkReferences(file, k); err != nil {
		return err
	}

	if err := checkEmbedded(file, data); err != nil {
		return err
	}

	for _, list := range [][]string{k.Generators, k.Transformers, k.Validators} {
		for _, ref := range list {
			if err := t.checkPlugin(file, ref, 0); err != nil {
				return err
			}
		}
	}

	return nil
}

// checkReferences refuses paths that must not be followed.
func (t *tree) checkReferences(file string, k *types.Kustomization) error {
	local := references(k)

	for _, ref := range slices.Concat(k.Resources, k.Components) {
		if t.mounts == nil || !isRemote(ref) {
			local = append(local, ref)
		}
	}

	for _, ref := range local {
		if err := t.checkLocal(file, ref); err != nil {
			return err
		}
	}

	return nil
}

func (t *tree) checkLocal(file, ref string) error {
	switch {
	case isRemote(ref):
		return remoteError(file, ref)
	case t.mounts != nil:
		return checkArea(file, ref)
	}

	return nil
}

// references returns everything in the kustomization that the library takes for a path, but for resources and components.
func references(k *types.Kustomization) []string {
	var refs []string

	for _, list := range [][]string{k.Crds, k.Configurations, k.Generators, k.Transformers, k.Validators} {
		refs = append(refs, list...)
	}

	refs = append(refs, k.OpenAPI["path"])

	for _, p := range k.PatchesStrategicMerge { //nolint:staticcheck // What users still write has to be checked.
		refs = append(refs, string(p))
	}

	for _, p := range append(k.PatchesJson6902, k.Patches...) { //nolint:staticcheck // What users still write has to be checked.
		refs = append(refs, p.Path)
	}

	for _, r := range k.Replacements {
		refs = append(refs, r.Path)
	}

	for _, g := range k.ConfigMapGenerator {
		refs = append(refs, sources(g.KvPairSources)...)
	}

	for _, g := range k.SecretGenerator {
		refs = append(refs, sources(g.KvPairSources)...)
	}

	return refs
}

func sources(s types.KvPairSources) []string {
	refs := append([]string{s.EnvSource}, s.EnvSources...)
	for _, f := range s.FileSources {
		refs = append(refs, f, afterKey(f))
	}

	return refs
}

// afterKey returns the path in a source that is written as key=path.
func afterKey(source string) string {
	_, name, _ := strings.Cut(source, "=")

	return name
}

// checkEmbedded looks for YAML that would blow up in the strings of a kustomization file: inline patches and plugins are
// parsed by the library like files.
func checkEmbedded(file string, data []byte) error {
	var content any
	if err := k8syaml.Unmarshal(data, &content); err != nil {
		return nil //nolint:nilerr // The library fails on it with the better message.
	}

	if err := checkStrings(content); err != nil {
		return fmt.Errorf("read %q: %w", file, err)
	}

	return nil
}

// checkStrings checks every string in the value as YAML.
func checkStrings(v any) error {
	var inner []any

	switch v := v.(type) {
	case string:
		return checkAliases([]byte(v))
	case []any:
		inner = v
	case map[string]any:
		inner = slices.Collect(maps.Values(v))
	}

	for _, e := range inner {
		if err := checkStrings(e); err != nil {
			return err
		}
	}

	return nil
}

// checkPlugin checks an entry of generators, transformers or validators, which is YAML, or names a file or a directory
// with the configuration of built-in plugins. Such a configuration holds paths too. A directory may only list resources:
// if it were built with patches, what comes out could not be known from here.
func (t *tree) checkPlugin(file, ref string, depth int) error {
	if depth > maxPluginDepth {
		return fmt.Errorf("read %q: plugin configurations are nested too deep", file)
	}

	if err := t.checkPluginConfig(file, []byte(ref)); err != nil {
		return err
	}

	name := path.Join(path.Dir(file), ref)
	if data, err := t.read(name); err == nil {
		return t.checkPluginConfig(name, data)
	} else if t.refused != nil {
		return err
	}

	dir, base, err := t.CleanedAbs(absolute(name))
	if err != nil || base != "" {
		return nil //nolint:nilerr // What is not there is missed by the library.
	}

	rel, err := relative(dir.String())
	if err != nil {
		return err
	}

	return t.checkPluginDirectory(rel, depth)
}

func (t *tree) checkPluginDirectory(dir string, depth int) error {
	file := t.kustomizationFile(dir)
	if file == "" {
		return nil
	}

	data, err := t.read(file)
	if err != nil {
		return err
	}

	var k types.Kustomization
	if err := k.Unmarshal(data); err != nil {
		return nil //nolint:nilerr // The library fails on it with the better message.
	}

	k.FixKustomization()

	resources := k.Resources
	k.Resources, k.MetaData = nil, nil

	if k.CheckEmpty() == nil {
		return &RefusedError{
			File: file, What: "a plugin configuration that is built",
			Why: "a directory with the configuration of generators, transformers or validators may only list resources",
		}
	}

	for _, ref := range resources {
		if isRemote(ref) {
			return remoteError(file, ref)
		}

		if err := t.checkPlugin(file, ref, depth+1); err != nil {
			return err
		}
	}

	return nil
}

// checkPluginConfig refuses plugin configurations that inflate charts, or hold a remote path.
func (t *tree) checkPluginConfig(file string, data []byte) error {
	if err := checkAliases(data); err != nil {
		return fmt.Errorf("read %q: %w", file, err)
	}

	documents, err := split(data)
	if err != nil {
		return nil //nolint:nilerr // The library splits it in the same way, and fails.
	}

	for _, doc := range documents {
		var node yaml.Node
		if err := yaml.Unmarshal(doc, &node); err != nil {
			continue // The library cannot parse it either.
		}

		if err := checkNode(file, &node, false); err != nil {
			return err
		}

		var value any
		if node.Decode(&value) == nil {
			t.spent.work.plugin(value, t.reader(file))
		}
	}

	return nil
}

// checkNode walks a plugin configuration. Aliases were checked before, so that it comes to an end.
func checkNode(file string, node *yaml.Node, isPath bool) error {
	switch node.Kind {
	case yaml.AliasNode:
		return checkNode(file, node.Alias, isPath)
	case yaml.ScalarNode:
		return checkScalar(file, node.Value, isPath)
	case yaml.MappingNode:
		return checkMapping(file, node, isPath)
	case yaml.DocumentNode, yaml.SequenceNode:
		for _, n := range node.Content {
			if err := checkNode(file, n, isPath); err != nil {
				return err
			}
		}
	}

	return nil
}

func checkMapping(file string, node *yaml.Node, isPath bool) error {
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}

		if err := checkNode(file, node.Content[i+1], isPath || isPathKey(key.Value)); err != nil {
			return err
		}
	}

	return nil
}

// isPathKey tells whether the field of a built-in plugin's configuration names files. Case does not matter, as the library
// decodes them.
func isPathKey(key string) bool {
	fields := []string{"path", "paths", "files", "env", "envs", "valuesFile", "additionalValuesFiles"}

	return slices.ContainsFunc(fields, func(f string) bool { return strings.EqualFold(f, key) })
}

func checkScalar(file, value string, isPath bool) error {
	if isPath && (isRemote(value) || isRemote(afterKey(value))) {
		return remoteError(file, value)
	}

	if isPath {
		for _, ref := range []string{value, afterKey(value)} {
			if err := checkPluginPath(file, ref); err != nil {
				return err
			}
		}
	}

	if strings.EqualFold(value, "HelmChartInflationGenerator") {
		return &RefusedError{File: file, What: "a Helm chart", Why: "charts are deployed by a HelmRelease"}
	}

	// A plugin may hold a patch as a string, which is parsed in turn.
	if err := checkAliases([]byte(value)); err != nil {
		return fmt.Errorf("read %q: %w", file, err)
	}

	return nil
}
