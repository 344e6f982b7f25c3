package sops

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Files in flat formats have the path of each field of the metadata in its key: age__list_0__map_recipient.
const (
	mapMark  = "__map_"
	listMark = "__list_"
)

// unflatten makes metadata of fields with paths for keys. Those that contradict each other are left out.
func unflatten(flat map[string]any) map[string]any {
	root := &flatNode{}
	for _, path := range slices.Sorted(maps.Keys(flat)) {
		root.put(flatPath(path), flat[path])
	}

	fields, _ := root.value(0).(map[string]any)

	return fields
}

// flatNode is a field (leaf), a map (fields) or a list (items).
type flatNode struct {
	leaf   any
	fields map[string]*flatNode
	items  map[int]*flatNode
}

// flatStep is a key, or an index if the key is empty.
type flatStep struct {
	key   string
	index int
}

func (n *flatNode) put(path []flatStep, value any) {
	for _, step := range path {
		if step.key != "" {
			n.fields, n = child(n.fields, step.key)
		} else {
			n.items, n = child(n.items, step.index)
		}
	}

	n.leaf = value
}

// child returns what is below a key or index, which is added if it is not there.
func child[K comparable](all map[K]*flatNode, key K) (map[K]*flatNode, *flatNode) {
	if all == nil {
		all = map[K]*flatNode{}
	}

	if all[key] == nil {
		all[key] = &flatNode{}
	}

	return all, all[key]
}

// value returns the node as values. What is nested deeper than metadata ever are is left out.
func (n *flatNode) value(depth int) any {
	const deepest = 10

	switch {
	case depth > deepest:
		return nil
	case len(n.fields) > 0:
		fields := make(map[string]any, len(n.fields))
		for key, child := range n.fields {
			fields[key] = child.value(depth + 1)
		}

		return fields
	case len(n.items) > 0:
		items := make([]any, 0, len(n.items))
		for _, i := range slices.Sorted(maps.Keys(n.items)) {
			items = append(items, n.items[i].value(depth+1))
		}

		return items
	default:
		return n.leaf
	}
}

// flatPath takes the key of a field apart.
func flatPath(key string) []flatStep {
	var path []flatStep

	for len(key) > 0 {
		rest, isIndex := strings.CutPrefix(key, listMark)
		if !isIndex {
			rest = strings.TrimPrefix(key, mapMark)
		}

		end := len(rest)
		for _, mark := range []string{mapMark, listMark} {
			if i := strings.Index(rest, mark); i >= 0 {
				end = min(end, i)
			}
		}

		step := flatStep{key: rest[:end]}

		if index, err := strconv.ParseUint(rest[:end], 10, 31); isIndex && err == nil {
			step = flatStep{index: int(index)}
		}

		path = append(path, step)
		key = rest[end:]
	}

	return path
}
