package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// locks are those of CollapseLock: whoever has the one of a key fetches it.
type locks struct {
	mu   sync.Mutex
	held map[string]*keyLock
}

// keyLock is held by a flight until it has ended, or is too old.
type keyLock struct{ since time.Time }

// take takes the lock of a key and returns what gives it back, or nil if it is
// held.
func (l *locks) take(c *Cache, key string) func() {
	maxAge := c.LockMaxAge
	if maxAge <= 0 {
		maxAge = 5 * time.Second
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if held, ok := l.held[key]; ok && now.Sub(held.since) < maxAge {
		return nil
	}
	var release func()
	if c.LockPath != "" {
		if release = takeFile(c.LockPath, key, maxAge); release == nil {
			return nil
		}
	}
	mine := &keyLock{now}
	if l.held == nil {
		l.held = make(map[string]*keyLock)
	}
	l.held[key] = mine
	return func() {
		l.mu.Lock()
		if l.held[key] == mine { // not one that took it over
			delete(l.held, key)
		}
		l.mu.Unlock()
		if release != nil {
			release()
		}
	}
}

// takeFile takes a lock that other processes see, by making a file. One that is
// too old was left behind. Where no file can be made, there is no lock, but the
// request goes on.
func takeFile(dir, key string, maxAge time.Duration) func() {
	sum := sha256.Sum256([]byte(key))
	name := filepath.Join(dir, hex.EncodeToString(sum[:16])+".lock")
	for range 2 {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			_ = f.Close()
			return func() { _ = os.Remove(name) }
		}
		if !os.IsExist(err) {
			return func() {}
		}
		info, err := os.Stat(name)
		if err == nil && time.Since(info.ModTime()) < maxAge {
			return nil
		}
		_ = os.Remove(name)
	}
	return nil
}
