package build

import (
	"bytes"
	"context"
	"path"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/types"
)

// Decrypter decrypts what a build reads and makes. *decryption.Session is one. It returns the values that were encrypted, too,
// so that they do not show up in messages.
type Decrypter interface {
	// Fingerprint stands for who decrypts: a set that was decrypted is given to nobody who has another one.
	Fingerprint() string

	// File returns the content of a file, relative to the artifact, in the clear, or as it is if it is not encrypted. It is going
	// to be used under the name given, or as a file with variables if there is none.
	File(ctx context.Context, file, as string, data []byte) (content []byte, values []string, err error)

	// Object decrypts an object in place, if it is encrypted.
	Object(ctx context.Context, u *unstructured.Unstructured) (values []string, err error)
}

// fingerprint stands for who decrypts, if anybody does.
func (r *Request) fingerprint() string {
	if r.Decrypter == nil {
		return ""
	}

	return r.Decrypter.Fingerprint()
}

// decryptObjects decrypts what was built.
func (t *tree) decryptObjects(objects []*unstructured.Unstructured) error {
	if t.decrypter == nil {
		return nil
	}

	for _, u := range objects {
		values, err := t.decrypter.Object(t.ctx, u)
		t.mask.Add(values...)

		if err != nil {
			return err //nolint:wrapcheck // it names the object
		}
	}

	return nil
}

// decryptFiles lays the files that the kustomization of the directory takes for Secrets and patches, and those of all that it is
// made of, over the artifact in the clear. It is done before the library runs, for a key service may take its time. What cannot
// be read is left to the library, which says so better.
func (t *tree) decryptFiles(k *types.Kustomization, dir string) error {
	if t.decrypter == nil {
		return nil
	}

	d := &decrypting{tree: t, dirs: map[string]bool{dir: true}, files: map[string]bool{}}

	return d.kustomization(k, dir)
}

// decrypting is the way through the kustomizations of a build.
type decrypting struct {
	*tree
	dirs, files map[string]bool // that were seen
}

func (d *decrypting) kustomization(k *types.Kustomization, dir string) error {
	for _, s := range secretFiles(k) {
		if err := d.file(dir, s.path, s.as); err != nil {
			return err
		}
	}

	for _, ref := range append(append([]string(nil), k.Resources...), k.Components...) {
		if err := d.directory(dir, ref); err != nil {
			return err
		}
	}

	return nil
}

// secretFile is a file, and the name under which it is used: none for variables.
type secretFile struct{ path, as string }

// secretFiles returns the files of secret generators and patches.
func secretFiles(k *types.Kustomization) []secretFile {
	var all []secretFile

	for _, g := range k.SecretGenerator {
		for _, env := range append([]string{g.EnvSource}, g.EnvSources...) {
			all = append(all, secretFile{env, ""})
		}

		for _, source := range g.FileSources {
			key, file, ok := strings.Cut(source, "=")
			if !ok {
				key, file = path.Base(source), source
			}

			all = append(all, secretFile{file, key})
		}
	}

	for _, p := range append(k.PatchesJson6902, k.Patches...) { //nolint:staticcheck // what users still write
		all = append(all, secretFile{p.Path, p.Path})
	}

	for _, p := range k.PatchesStrategicMerge { //nolint:staticcheck // what users still write
		if !strings.Contains(string(p), "\n") { // else it is the patch itself
			all = append(all, secretFile{string(p), string(p)})
		}
	}

	return all
}

// within returns the path of what a kustomization names, relative to the artifact, if it may lie there.
func within(dir, ref string) (string, bool) {
	if ref == "" || path.IsAbs(ref) || isRemote(ref) {
		return "", false
	}

	name := path.Join(dir, ref)

	return name, filepath.IsLocal(name)
}

// file decrypts a file, once.
func (d *decrypting) file(dir, ref, as string) error {
	name, ok := within(dir, ref)
	if !ok || d.files[name] {
		return nil
	}

	d.files[name] = true

	data, err := d.read(name)
	if err != nil {
		return d.unreadable()
	}

	content, values, err := d.decrypter.File(d.ctx, name, as, data)
	d.mask.Add(values...)

	if err != nil {
		return err //nolint:wrapcheck // it names the file
	}

	if bytes.Equal(content, data) {
		return nil
	}

	d.overlay[name] = content

	return d.spend(name, d.spent.content(content)) // what is in an envelope could not be counted before
}

// directory decrypts what a base or a component takes.
func (d *decrypting) directory(dir, ref string) error {
	name, ok := within(dir, ref)
	if !ok {
		return nil
	}

	target, base, err := d.CleanedAbs(absolute(name))
	if err != nil || base != "" {
		return nil //nolint:nilerr // see decryptFiles
	}

	if name, err = relative(target.String()); err != nil || d.dirs[name] {
		return nil //nolint:nilerr // see decryptFiles
	}

	d.dirs[name] = true

	file := d.kustomizationFile(name)
	if file == "" {
		return nil
	}

	data, err := d.ReadFile(absolute(file))
	if err != nil {
		return d.unreadable()
	}

	k := &types.Kustomization{}
	if err := k.Unmarshal(data); err != nil {
		return nil //nolint:nilerr // see decryptFiles
	}

	k.FixKustomization()

	return d.kustomization(k, name)
}

// unreadable is the error that ends the build, if there is one.
func (d *decrypting) unreadable() error {
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}

	return d.refused // nothing goes on behind a limit
}
