package cachetest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/modproxy/modproxy/cache/store"
)

// Claims are what a store promises beyond the interface.
type Claims struct {
	// Reopen makes a store of what a closed one has kept. If nil, the store
	// does not claim to keep anything.
	Reopen func(closed store.Store) (store.Store, error)

	// BigBody is the length of the largest body tried. Zero means 8 MiB.
	BigBody int

	// Rounds is how often each goroutine does something while others do, too.
	// Zero means 500.
	Rounds int
}

// TestStore returns what is wrong with the stores that make returns, or nil.
// make is called for each check; a store that is an io.Closer is closed after
// it.
func TestStore(make func() (store.Store, error), c Claims) error {
	if c.BigBody == 0 {
		c.BigBody = 8 << 20
	}
	if c.Rounds == 0 {
		c.Rounds = 500
	}
	var errs []error
	random := randomBytes(max(c.BigBody, 1<<20+1))
	for _, check := range checks {
		if check.name == "concurrency" && len(errs) > 0 {
			continue // it would only say the same, many times
		}
		k := &kit{claims: c, ctx: context.Background(), random: random}
		err := guarded(func() {
			var err error
			k.store, err = make()
			k.must(err, "make")
			defer k.close()
			check.run(k)
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", check.name, err))
		}
	}
	return errors.Join(errs...)
}

// checks are in the order of need: who fails an early one fails many.
var checks = []struct {
	name string
	run  func(*kit)
}{
	{"empty store", emptyStore},
	{"one response", oneResponse},
	{"metadata", metadata},
	{"huge header", hugeHeader},
	{"whole keys", wholeKeys},
	{"variants", variants},
	{"big bodies", bigBodies},
	{"seek", seek},
	{"unseen before Commit", unseen},
	{"Abort", abort},
	{"Commit takes the place of old", replace},
	{"Commit leaves no gap", noGap},
	{"Update", update},
	{"Remove", remove},
	{"open bodies stay readable", openBodies},
	{"Reader while it is written", readWhileWritten},
	{"Reader outlives the writer", readerOutlives},
	{"Walk", walk},
	{"Walk and change", walkAndChange},
	{"closed bodies", closedBodies},
	{"concurrency", concurrency},
	{"reopen", reopen},
}

// kit is what a check works with. Its methods end the check when something is
// wrong.
type kit struct {
	store  store.Store
	claims Claims
	ctx    context.Context
	random []byte // what bodies are parts of
}

// failure is what ends a check.
type failure struct{ error }

// guarded runs f and returns how it ended. Any other panic is an error, too.
func guarded(f func()) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = p.error
		default:
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	f()
	return nil
}

func (k *kit) fail(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

func (k *kit) must(err error, format string, args ...any) {
	if err != nil {
		k.fail("%s: %w", fmt.Sprintf(format, args...), err)
	}
}

func (k *kit) close() {
	if c, ok := k.store.(io.Closer); ok {
		k.must(c.Close(), "Close")
	}
}

// together runs functions at once and waits for all.
func (k *kit) together(f ...func()) {
	ended := make(chan error, len(f))
	for _, f := range f {
		go func() { ended <- guarded(f) }()
	}
	var errs []error
	for range f {
		errs = append(errs, <-ended)
	}
	if err := errors.Join(errs...); err != nil {
		panic(failure{err})
	}
}
