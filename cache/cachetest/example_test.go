package cachetest_test

import (
	"fmt"

	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/cache/cachetest"
)

// A store of one's own would stand in the place of Memory.
func ExampleTestStore() {
	err := cachetest.TestStore(func() (cache.Store, error) {
		return &cache.Memory{MaxBytes: 256 << 20}, nil
	}, cachetest.Claims{Rounds: 10})
	fmt.Println(err)
	// Output: <nil>
}
