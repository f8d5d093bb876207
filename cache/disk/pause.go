package disk

import (
	"fmt"
	"sync"
	"time"
)

// faults is the state of a disk that fails:
//
//	works --an error--> paused --Retry elapsed--> trial --stored--> works
//	                       ^------------an error-----'
//
// Entering paused from works is logged, and the way back is; nothing between.
type faults struct {
	mu    sync.Mutex
	cause error     // nil: works
	since time.Time // of the first failure
	count int64     // of failures, and of what was refused since
	until time.Time // paused until; zero when it works
}

// pause returns why nothing is stored at present, or nil. Of those who come
// when the pause has ended, one is let through to try.
func (f *faults) pause(retry time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.cause == nil {
		return nil
	}
	if now.Before(f.until) {
		f.count++
		return fmt.Errorf("cache: disk store: pausing after an error: %w", f.cause)
	}
	f.until = now.Add(retry)
	return nil
}

// fault notes an error of the file system and returns it.
func (d *Store) fault(op string, err error) error {
	d.errors.Add(1)
	f := &d.faults
	f.mu.Lock()
	first := f.cause == nil
	if first {
		f.since, f.count = time.Now(), 0
	}
	f.count++
	f.cause = err
	f.until = time.Now().Add(d.retry())
	f.mu.Unlock()
	if first {
		d.log().Error("cache: the disk store fails; nothing is stored until it works again",
			"root", d.Root, "op", op, "error", err, "retry", d.retry())
	}
	return err
}

// worked notes that something was stored.
func (d *Store) worked() {
	f := &d.faults
	f.mu.Lock()
	again, since, count := f.cause != nil, f.since, f.count
	f.cause, f.until = nil, time.Time{}
	f.mu.Unlock()
	if again {
		d.log().Info("cache: the disk store works again", "root", d.Root, "duration", time.Since(since), "failures", count)
	}
}
