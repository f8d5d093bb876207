package apache

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/digest"
	"github.com/modproxy/modproxy/proxy/access"
)

// accounts are the users of an AuthUserFile. While the file is missing, no
// credentials can be judged, as in httpd.
type accounts struct {
	name string

	mu   sync.Mutex // guards the rest
	file *access.Htpasswd

	looked  time.Time // at the file, as one of htdigest
	digests digest.Users
}

// accounts returns the users of a file, of which there is one for all sections. A
// file with a line that cannot be read is an error; one that is not there, or may
// not be read, a warning.
func (b *builder) accounts(d *conf.Directive, name string) (*accounts, error) {
	if a := b.users[name]; a != nil {
		return a, nil
	}
	a := &accounts{name: name}
	if _, err := a.open(); err != nil {
		if _, other := a.readDigests(); other == nil {
			err = nil // it is a file of htdigest
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		if err != nil {
			b.warn(d.Errorf("AuthUserFile: nobody can log in: %w", err))
		}
	}
	if b.users == nil {
		b.users = make(map[string]*accounts)
	}
	b.users[name] = a
	return a, nil
}

// open returns the file, once it can be read.
func (a *accounts) open() (*access.Htpasswd, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file != nil {
		return a.file, nil
	}
	var err error
	a.file, err = access.OpenHtpasswd(a.name)
	return a.file, err
}

func (a *accounts) verify(ctx context.Context, user, password string) (bool, error) {
	file, err := a.open()
	if err != nil {
		return false, err
	}
	return file.Verify(ctx, user, password)
}

// readDigests returns the users, if the file is one of htdigest. A change of it
// counts a second later.
func (a *accounts) readDigests() (digest.Users, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.digests != nil && time.Since(a.looked) < time.Second {
		return a.digests, nil
	}
	a.digests, a.looked = nil, time.Now()
	text, err := readFile(a.name)
	if err == nil {
		a.digests, err = digest.ReadUsers(string(text))
	}
	return a.digests, err
}

// stamp changes with a user's password.
func (a *accounts) stamp(user string) string {
	file, err := a.open()
	if err != nil {
		return ""
	}
	return file.Stamp(user)
}
