package zerovalues

import "reflect"

// The exported types and functions of all packages: none here, for this file is
// replaced by TestWithFullTable.
var (
	exportedTypes     []reflect.Type
	exportedFunctions map[string]any
)
