// Package template renders a ResourceSet: it combines the inputs ([Combine]), renders the templates once for each of them
// ([Render]), and writes into the objects what they ask for of others ([Set.Resolve]). It is pure: it reads no cluster, no
// clock and no environment. Who uses it fetches the providers of inputs and the referenced objects.
//
// Templates and inputs are foreign. A template runs in a sandbox: its functions neither reach the network, the environment
// and the clock, nor yield anything random; steps, the size of values and of the output, and the number of objects are
// bounded, and loops end with the context. Errors name the place in the ResourceSet and the input, never a value.
//
// # Inputs
//
// Each input gets the key provider with apiVersion, kind, namespace and name of who gave it; that is the ResourceSet itself
// for those in its spec. A key of that name that was there before is lost. Inputs of the spec get no id.
//
// Without inputs, and without inputsFrom, the items of resources are taken as they are, and resourcesTemplate is rendered
// once. With inputsFrom, no inputs make no objects.
package template
