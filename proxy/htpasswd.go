package proxy

import (
	"bufio"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// Htpasswd is a file of users and hashes of their passwords, as Apache's
// htpasswd writes it. It does not change: read the file again, and make a new
// [BasicAuth], when it has.
type Htpasswd struct {
	hashes map[string]string
	slow   string // the one that takes longest, for users that do not exist
}

// maxBcryptCost is that of htpasswd. Each step more takes twice as long.
const maxBcryptCost = 17

// ReadHtpasswd reads lines "user:hash". Empty lines and those that begin with
// "#" are skipped. Hashes are bcrypt (htpasswd -B) or Apache's MD5 (-m); the
// error names the line with any other, since it says less than it seems to, or
// does not say what the password is of.
func ReadHtpasswd(r io.Reader) (*Htpasswd, error) {
	h := &Htpasswd{hashes: make(map[string]string)}
	dearest := -1
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		if !ok || user == "" || !validValue(user) {
			return nil, fmt.Errorf("proxy: htpasswd: line %d is not user:hash", n)
		}
		if _, again := h.hashes[user]; again {
			return nil, fmt.Errorf("proxy: htpasswd: line %d: the user has a line already", n)
		}
		cost, err := hashCost(hash)
		if err != nil {
			return nil, fmt.Errorf("proxy: htpasswd: line %d: %w", n, err)
		}
		if cost > dearest {
			dearest, h.slow = cost, hash
		}
		h.hashes[user] = hash
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("proxy: htpasswd: %w", err)
	}
	return h, nil
}

// hashCost checks a hash, and returns what checking a password against it
// costs: zero for MD5.
func hashCost(hash string) (int, error) {
	if strings.HasPrefix(hash, apr1Prefix) {
		if _, _, ok := cutAPR1(hash); !ok {
			return 0, errors.New("the hash is malformed")
		}
		return 0, nil
	}
	if !strings.HasPrefix(hash, "$2") {
		return 0, errors.New("the hash is neither bcrypt (htpasswd -B) nor Apache's MD5 (htpasswd -m)")
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil || len(hash) != 60 {
		return 0, errors.New("the hash is malformed")
	}
	if cost > maxBcryptCost {
		return 0, fmt.Errorf("bcrypt's cost is above %d", maxBcryptCost)
	}
	return cost, nil
}

// Verify reports whether a password is that of the user. It takes as long for
// a user that does not exist as for the one whose hash takes longest. It fits
// [BasicAuth].Verify.
func (h *Htpasswd) Verify(_ context.Context, user, password string) (bool, error) {
	hash, ok := h.hashes[user]
	if !ok {
		hash = h.slow
	}
	return fitsHash(hash, password) && ok, nil
}

// Len returns the number of users.
func (h *Htpasswd) Len() int { return len(h.hashes) }

func fitsHash(hash, password string) bool {
	if salt, want, ok := cutAPR1(hash); ok {
		return subtle.ConstantTimeCompare([]byte(apr1(password, salt)), []byte(want)) == 1
	}
	return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
}
