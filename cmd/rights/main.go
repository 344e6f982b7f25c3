// Command rights writes the roles of an operator without cluster-admin: what it needs to deploy the distribution that it carries, in
// every form that an instance can give it, and nothing more. They are derived from the objects of these forms, which are those of
// the golden cases of package distribution.
//
// It is run at the root of the repository, by make generate.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/config/crd"
	manifests "github.com/weir-dev/weir/config/distribution"
	"github.com/weir-dev/weir/reconcilers/distribution"
)

// namespace that the operator lives in, which its install manifest names too.
const namespace = "flux-system"

// anyImage stands for that of an operator. Rights do not depend on it.
const anyImage = "localhost/weir:any"

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "rights:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := pflag.NewFlagSet("rights", pflag.ContinueOnError)
	cases := flags.String("cases", "reconcilers/distribution/testdata", "folder of the cases, each with an instance in in.yaml")
	out := flags.String("out", "config/least-privilege/rights.yaml", "file to write the roles to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	content, err := generate(os.DirFS(*cases))
	if err != nil {
		return err
	}
	return os.WriteFile(*out, content, 0o644) //nolint:gosec // a manifest is no secret
}

// generate returns the roles for all cases.
func generate(cases fs.FS) ([]byte, error) {
	objects, err := deployed(cases)
	if err != nil {
		return nil, err
	}
	return roles(objects)
}

// deployed are the objects that the operator deploys in its namespace in any case, and the definitions of its own kinds.
func deployed(cases fs.FS) ([]*unstructured.Unstructured, error) {
	carried, err := distribution.Load(manifests.FS(), crd.FS())
	if err != nil {
		return nil, fmt.Errorf("load distribution: %w", err)
	}
	image, err := distribution.ParseImage(anyImage)
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(cases, "*/in.yaml")
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no cases: %w", err)
	}
	var objects []*unstructured.Unstructured
	for _, file := range files {
		obj, err := read(cases, file)
		if err != nil {
			return nil, err
		}
		if obj.Namespace != namespace || obj.Spec.Distribution.Artifact != "" {
			continue // another operator's, or one of another distribution, which has the kinds of this one
		}
		set, err := carried.Build(obj, distribution.Options{Image: image})
		if err != nil {
			return nil, fmt.Errorf("build %q: %w", filepath.Dir(file), err)
		}
		objects = append(objects, set.Objects...)
	}
	own, err := definitions()
	return append(objects, own...), err
}

func read(cases fs.FS, file string) (*fluxv1.FluxInstance, error) {
	content, err := fs.ReadFile(cases, file)
	if err != nil {
		return nil, err
	}
	obj := &fluxv1.FluxInstance{}
	if err := yaml.UnmarshalStrict(content, obj); err != nil {
		return nil, fmt.Errorf("read %q: %w", file, err)
	}
	return obj, nil
}

// definitions are those of the operator's own kinds, which it brings when it upgrades itself.
func definitions() ([]*unstructured.Unstructured, error) {
	files, err := fs.Glob(crd.FS(), fluxv1.GroupVersion.Group+"_*.yaml")
	if err != nil {
		return nil, err
	}
	var own []*unstructured.Unstructured
	for _, file := range files {
		content, err := fs.ReadFile(crd.FS(), file)
		if err != nil {
			return nil, err
		}
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(content, &o.Object); err != nil {
			return nil, fmt.Errorf("read %q: %w", file, err)
		}
		own = append(own, o)
	}
	return own, nil
}

// isOwn tells whether a definition is of one of the operator's own kinds.
func isOwn(definition string) bool {
	return strings.HasSuffix(definition, "."+fluxv1.GroupVersion.Group)
}
