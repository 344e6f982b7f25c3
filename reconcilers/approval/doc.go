// Package approval lets people see what is about to change, and approve exactly that.
//
// A plan is a text in a ConfigMap that goes with the object it is about. Its digest, which an annotation of that object has to carry
// before anything is done, is made with a key: it covers what the text masks, such as the values of Secrets, and nobody can try
// those out on it. The key differs from object to object, so that equal plans do not show.
//
// The package compares nothing and applies nothing: the differences come from package apply, and what waits for an approval is
// up to the kinds.
package approval
