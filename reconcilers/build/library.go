package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/yaml"
)

// kustomization returns the kustomization to build, and the file that it is read from or would be in. It is that of the
// directory or, without one, lists what the scan of the directory found; the spec is merged into it.
func (t *tree) kustomization(dir, file string, found *plain, spec *Spec) (*types.Kustomization, string, error) {
	k := &types.Kustomization{}

	if file == "" {
		file = path.Join(dir, "kustomization.yaml")
		k.Resources = found.entries
	} else {
		data, _, err := t.checked(file)
		if err != nil {
			return nil, "", err
		}

		if err := k.Unmarshal(data); err != nil {
			return nil, "", fmt.Errorf("%q: %w", file, err)
		}
	}

	k.FixKustomization()

	return k, file, spec.applyTo(k, t, dir)
}

// buildWithLibrary builds the directory with the kustomize library. The file is its kustomization file; if there is none,
// found has what it would list. A build that brings a schema of its own begins again, alone, and one that names something
// that lies elsewhere when that was fetched.
func (b *Builder) buildWithLibrary(
	t *tree, dir, file string, found *plain, spec *Spec,
) ([]*unstructured.Unstructured, error) {
	for {
		objects, err := b.attempt(t, dir, file, found, spec)

		switch {
		case errors.Is(err, errOwnSchema):
			t.alone = true
		case errors.Is(err, errWanted):
			if err := t.mounts.fetch(t.ctx, t.maxFile); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, t.named(err)
		default:
			return objects, t.nameOrigins(objects, dir)
		}

		t.again()
	}
}

func (b *Builder) attempt(t *tree, dir, file string, found *plain, spec *Spec) ([]*unstructured.Unstructured, error) {
	k, file, err := t.kustomization(dir, file, found, spec)
	if err != nil {
		return nil, err
	}

	if err := t.decryptFiles(k, dir); err != nil {
		return nil, err
	}

	if k.CheckEmpty() != nil {
		return nil, nil //nolint:nilerr // The library refuses it; here it stands for no objects.
	}

	if found != nil || spec.transforms() {
		if t.overlay[file], err = yaml.Marshal(k); err != nil {
			return nil, err
		}
	}

	t.spent = budget{alone: t.alone} // the library reads it once more

	result, err := b.run(t, dir)
	if err != nil && found == nil {
		return nil, fmt.Errorf("kustomize build failed: %q: %w", file, err)
	}

	if err != nil { // the kustomization file is ours, and nobody could look it up
		return nil, fmt.Errorf("kustomize build failed: %w", err)
	}

	return result, nil
}

// outcome is what comes out of a run of the library.
type outcome struct {
	objects []*unstructured.Unstructured
	err     error
}

// run runs the library. Nothing can stop it between two reads, so that it is left to itself when the context ends; it keeps
// its place until it ends.
func (b *Builder) run(t *tree, dir string) ([]*unstructured.Unstructured, error) {
	place, err := b.gate.pass(t.ctx, t.owner, t.alone)
	if err != nil {
		return nil, err
	}

	t.hold()

	done := make(chan outcome, 1)

	go func() {
		var o outcome

		o.objects, o.err = b.call(t, dir) // it does not panic

		t.close()
		place.leave()

		done <- o
	}()

	select {
	case o := <-done:
		return o.objects, o.err
	case <-t.ctx.Done():
		place.abandon()

		return nil, context.Cause(t.ctx)
	}
}

// call calls the library. What it reads of its schema without a lock never changes but while a build is alone.
func (b *Builder) call(t *tree, dir string) (objects []*unstructured.Unstructured, err error) {
	defer recoverIn(dir, &err)

	if t.alone {
		defer openapi.Schema()
		defer openapi.ResetOpenAPI()

		openapi.ResetOpenAPI() // or the schema would be added to that of Kubernetes
	} else {
		b.schema.Do(func() { openapi.Schema() })
	}

	result, err := krusty.MakeKustomizer(options()).Run(t, absolute(dir))
	if t.refused != nil {
		return nil, t.refused
	}

	if err != nil {
		return nil, &pathError{err, t.mask}
	}

	return convert(t.ctx, result)
}

func options() *krusty.Options {
	return &krusty.Options{
		Reorder:          krusty.ReorderOptionNone,
		LoadRestrictions: types.LoadRestrictionsNone,
		PluginConfig:     types.DisabledPluginConfig(),
	}
}

// pathError is an error of the library with the paths as users know them.
type pathError struct {
	err  error
	mask *Mask
}

// maxErrorText is how much is told of what the library says, in bytes: it may quote whole files, again for each base.
const maxErrorText = 4 << 10

func (e *pathError) Error() string {
	text := e.mask.Hide(e.err.Error()) // as long as it is whole: what is cut is not found
	if len(text) > maxErrorText {
		text = text[:maxErrorText/2] + " … " + text[len(text)-maxErrorText/2:]
	}

	text = strings.ReplaceAll(strings.ToValidUTF8(text, ""), treeRoot+"/", "")

	return strings.ReplaceAll(text, treeRoot, ".")
}

func (e *pathError) Unwrap() error { return e.err }

func recoverIn(dir string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("recovered from panic while building %q: %v", dir, p)
	}
}

// convert turns the result of the library into what its YAML would be read as.
func convert(ctx context.Context, m resmap.ResMap) ([]*unstructured.Unstructured, error) {
	objects := make([]*unstructured.Unstructured, 0, m.Size())

	for _, r := range m.Resources() {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}

		data, err := r.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.CurId(), err)
		}

		u := &unstructured.Unstructured{}
		if err := json.UnmarshalCaseSensitivePreserveInts(data, &u.Object); err != nil {
			return nil, fmt.Errorf("%s: %w", r.CurId(), err)
		}

		objects = append(objects, u)
	}

	return objects, nil
}

// GuardFatal returns a writer for the standard logger that passes everything on to w, except that it panics on what
// log.Fatal writes from within a library build. The library ends the process so for some malformed input (a ConfigMap with
// an empty key that is merged, for one); as a panic it becomes the error of that build. A program that builds what others
// write installs it with log.SetOutput.
func GuardFatal(w io.Writer) io.Writer { return fatalGuard{w} }

type fatalGuard struct{ out io.Writer }

func (g fatalGuard) Write(p []byte) (int, error) {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])

	var fatal, building bool

	for {
		frame, more := frames.Next()
		fatal = fatal || strings.HasPrefix(frame.Function, "log.Fatal")
		building = building || strings.HasPrefix(frame.Function, "sigs.k8s.io/kustomize/")

		if !more {
			break
		}
	}

	if fatal && building {
		panic(strings.TrimSpace(string(p)))
	}

	return g.out.Write(p)
}
