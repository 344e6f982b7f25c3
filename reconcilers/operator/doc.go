// Package operator changes the image of the Deployment that runs this process, and tells how that goes: it finds the Deployment by the
// owners of the process's own pod, says who else looks after it, and brings the definitions that a newer operator needs.
//
// It changes an image and the argument that names it, and nothing else. When to do so, and when to go back, is for package instance.
package operator
