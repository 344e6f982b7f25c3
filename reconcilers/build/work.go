package build

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"sigs.k8s.io/kustomize/api/types"
	k8syaml "sigs.k8s.io/yaml"
)

// Limits of what a build does to its objects. The library could only be stopped where it reads, so that what it will do is
// bounded by what it reads.
const (
	// maxWork bounds the objects that are looked at for each patch, replacement, image and so on, in all.
	maxWork = 4_000_000
	// maxGrown bounds the bytes that patches and replacements may add.
	maxGrown = 512 << 20
	// freeGrowth are the bytes of a patch that do not count: small ones are many.
	freeGrowth = 512
	// maxCopied bounds what one patch adds to an object by copying.
	maxCopied = 1 << 20
)

// LimitCopies bounds what a JSON patch may add by copying, to 1 MiB, in all of the process: without it, a patch of forty lines
// that copies a value into itself takes all memory. A program that builds what others write calls it first.
func LimitCopies() { jsonpatch.AccumulatedCopySizeLimit = maxCopied }

// work is what the kustomizations of a build do to its objects.
type work struct {
	steps int   // for each object
	wide  int64 // bytes for each object
	once  int64 // bytes for one object

	// copies are bytes of a replacement for each byte of the largest value: as many as it has targets.
	copiesWide, copiesOnce int64
	// sources and targets are the fields that replacements read and write.
	sources, targets []string
	moves            bool // a patch may put anything anywhere
	// vars says that there are variables of kustomize, and uses how many references to them there may be.
	vars bool
	uses int64
}

// kustomization counts what a kustomization does. Read returns the content of a file that it names, or nothing.
func (w *work) kustomization(k *types.Kustomization, read func(string) []byte) {
	vars := len(k.Vars)           //nolint:staticcheck // What users still write has to be counted.
	labels := len(k.CommonLabels) //nolint:staticcheck // What users still write has to be counted.

	w.vars = w.vars || vars > 0
	w.steps += len(k.Images) + len(k.Replicas) + len(k.Labels) + len(k.Transformers) + len(k.Validators) + vars + labels +
		len(k.CommonAnnotations) + len(k.Configurations) + len(k.Crds)

	for _, p := range append(k.PatchesJson6902, k.Patches...) { //nolint:staticcheck // What users still write has to be counted.
		w.patch(&p, read)
	}

	for range k.PatchesStrategicMerge { //nolint:staticcheck // What users still write has to be counted.
		w.steps++
	}

	for _, r := range k.Replacements {
		w.replacement(&r.Replacement)

		if r.Path != "" {
			w.replacements(read(r.Path))
		}
	}
}

func (w *work) patch(p *types.Patch, read func(string) []byte) {
	w.steps++

	text := []byte(p.Patch)
	if p.Path != "" {
		text = read(p.Path)
	}

	size := int64(len(text))
	if bytes.Contains(text, []byte("op")) || bytes.Contains(text, []byte(`\`)) {
		copies, moves := operations(text)
		w.moves = w.moves || moves || copies > 0

		if copies > 0 {
			size += maxCopied
		}
	}

	if p.Target == nil || isLiteral(p.Target.Name) {
		w.once += size
	} else {
		w.wide += max(size-freeGrowth, 0)
	}
}

// operations returns how many copies there are in a JSON patch, and whether it moves anything.
func operations(text []byte) (copies int, moves bool) {
	var list []struct {
		Op string `json:"op"`
	}

	if k8syaml.Unmarshal(text, &list) != nil {
		return 0, false // it is no such patch
	}

	for _, o := range list {
		switch o.Op {
		case "copy":
			copies++
		case "move":
			moves = true
		}
	}

	return copies, moves
}

// replacements counts those in a file: one, or a list of them.
func (w *work) replacements(text []byte) {
	var list []types.Replacement
	if k8syaml.Unmarshal(text, &list) != nil {
		list = make([]types.Replacement, 1)
		if k8syaml.Unmarshal(text, &list[0]) != nil {
			return // the library fails on it
		}
	}

	for i := range list {
		w.replacement(&list[i])
	}
}

// plugin counts what the configuration of a plugin does, wherever in the YAML it stands.
func (w *work) plugin(value any, read func(string) []byte) {
	switch v := value.(type) {
	case []any:
		for _, e := range v {
			w.plugin(e, read)
		}
	case map[string]any:
		w.pluginFields(v, read)

		for _, e := range v {
			w.plugin(e, read)
		}
	}
}

func (w *work) pluginFields(fields map[string]any, read func(string) []byte) {
	for key, value := range fields {
		text, _ := value.(string)

		switch strings.ToLower(key) {
		case "patch", "jsonop", "patches":
			w.patch(&types.Patch{Patch: text}, read)

			w.wide += int64(len(text)) // whatever its target is
		case "path":
			if data := read(text); data != nil {
				w.patch(&types.Patch{Patch: string(data)}, read)
				w.replacements(data)

				w.wide += int64(len(data))
			}
		case "replacements":
			if data, err := k8syaml.Marshal(value); err == nil {
				w.replacements(data)
			}
		}
	}
}

func (w *work) replacement(r *types.Replacement) {
	w.steps++

	if r.Source != nil {
		source := r.Source.FieldPath
		if source == "" {
			source = types.DefaultReplacementFieldPath
		}

		w.sources = append(w.sources, source)
	}

	for _, t := range r.Targets {
		if t == nil {
			continue
		}

		paths := t.FieldPaths
		if len(paths) == 0 {
			paths = []string{types.DefaultReplacementFieldPath}
		}

		w.steps += len(paths)
		w.targets = append(w.targets, paths...)

		if t.Select != nil && isLiteral(t.Select.Name) {
			w.copiesOnce += int64(len(paths))
		} else {
			w.copiesWide += int64(len(paths))
		}
	}
}

var plainName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// isLiteral tells whether a pattern for names matches itself only.
func isLiteral(pattern string) bool { return plainName.MatchString(pattern) }

// check tells whether it is too much for so many objects, in so many bytes of which the largest file has some.
func (w *work) check(objects int, all, largest int64) error {
	n := int64(objects)

	if int64(w.steps)*n > maxWork {
		return fmt.Errorf("%d patches, replacements and the like are too many for %d objects", w.steps, objects)
	}

	if w.wide*n+w.once > maxGrown {
		return fmt.Errorf("the patches add up to more than %d bytes in %d objects", maxGrown, objects)
	}

	if w.copiesWide*largest > maxGrown/max(n, 1) || w.copiesOnce*largest > maxGrown {
		return fmt.Errorf("the replacements may add more than %d bytes to %d objects", maxGrown, objects)
	}

	if w.vars && w.uses*largest > maxGrown {
		return fmt.Errorf("the vars may add more than %d bytes", maxGrown)
	}

	if twice := w.feeding(); twice > 30 || all<<twice > maxGrown {
		return fmt.Errorf("%d replacements write what replacements read, so that values may double as often", twice)
	}

	return nil
}

// feeding returns how many fields are written by a replacement and read by one.
func (w *work) feeding() int {
	n := 0

	for _, t := range w.targets {
		for _, s := range w.sources {
			if w.moves || overlap(s, t) {
				n++

				break
			}
		}
	}

	return n
}

// overlap tells whether one path of fields may be in the other.
func overlap(a, b string) bool {
	if strings.ContainsAny(a+b, `\`) {
		return true // dots in names
	}

	x, y := strings.Split(a, "."), strings.Split(b, ".")

	for i := range min(len(x), len(y)) {
		if x[i] != y[i] && !isPattern(x[i]) && !isPattern(y[i]) {
			return false
		}
	}

	return true
}

// isPattern tells whether an element of a path may match others: all, or one of a list.
func isPattern(element string) bool {
	return element == "*" || element == "-" || strings.HasPrefix(element, "[") || strings.Trim(element, "0123456789") == ""
}

// reader returns what reads files that a kustomization file names, for a look at them.
func (t *tree) reader(file string) func(string) []byte {
	return func(name string) []byte {
		data, err := t.read(path.Join(path.Dir(file), name))
		if err != nil {
			return nil // the library misses it too
		}

		return data
	}
}
