package cachetest_test

import (
	"fmt"

	"github.com/modproxy/modproxy/cache/cachetest"
	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
)

// A store of one's own would stand in the place of Memory.
func ExampleTestStore() {
	err := cachetest.TestStore(func() (store.Store, error) {
		return &memory.Store{MaxBytes: 256 << 20}, nil
	}, cachetest.Claims{Rounds: 10})
	fmt.Println(err)
	// Output: <nil>
}
