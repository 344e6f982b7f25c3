package template

// Error is a fault of a ResourceSet: trying again changes nothing before its spec, its inputs or what it refers to do.
type Error struct {
	// Step of the spec, empty without steps.
	Step string

	// Place in the spec, or the object: resources[2], resourcesTemplate, Secret/ns/name.
	Place string

	// Input that was rendered, such as "inputs[0]" or the id, empty if none was.
	Input string

	// Err is what is wrong with it. It holds no values of inputs.
	Err error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }
