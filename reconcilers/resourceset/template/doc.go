// Package template renders a ResourceSet: it combines the inputs ([Combine]), renders the templates once for each of them
// ([Render]), and writes into the objects what they ask for of others ([Set.Resolve]). It is pure: it reads no cluster, no
// clock and no environment. Who uses it fetches the providers of inputs and the referenced objects.
//
// Templates and inputs are foreign. A template runs in a sandbox: guards that are put into it count what it costs, so that
// steps, values, the output and the objects are bounded, and loops end with the context. Errors name the place in the
// ResourceSet and the input, and never a value.
//
// # Inputs
//
// Each input gets the key provider with apiVersion, kind, namespace and name of who gave it; that is the ResourceSet itself
// for those in its spec. A key of that name that was there before is lost. Inputs of the spec get no id. With the strategy
// Permute, the inputs of the spec are found under the name of the ResourceSet.
//
// Without inputs, and without inputsFrom, the items of resources are taken as they are, and resourcesTemplate is rendered
// once. With inputsFrom, no inputs make no objects.
//
// # Functions
//
// They are those of text/template and the hermetic ones of slim-sprig, and toYaml, mustToYaml and slugify. Nothing in them is up to
// chance: keys and values are sorted, dates are in UTC, and randInt yields the same for the same input. An item of resources
// renders to one document, or none, whatever its inputs hold.
package template
