package access

import (
	"bufio"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// Htpasswd is a file of users and hashes of their passwords, as Apache's
// htpasswd writes it. With one that was opened by its name, changes of the file
// count a second later at the latest; and with its Stamp in [BasicAuth].Stamp,
// for those as well who have been let in.
type Htpasswd struct {
	name string // of the file that is followed; empty for none

	mu     sync.Mutex // guards the rest
	table  htpasswdTable
	err    error       // why the file could not be read
	looked time.Time   // at the file
	seen   os.FileInfo // then
}

// htpasswdTable is what a file says.
type htpasswdTable struct {
	hashes map[string]string
	slow   string // the one that takes longest, for users that do not exist
}

// lookAgain is how long it may take until a change of a file is seen.
const lookAgain = time.Second

// maxBcryptCost is that of htpasswd. Each step more takes twice as long.
const maxBcryptCost = 17

// ReadHtpasswd reads lines "user:hash". Empty lines and those that begin with
// "#" are skipped. Hashes are bcrypt (htpasswd -B) or Apache's MD5 (-m); the
// error names the line with any other, since it says less than it seems to, or
// does not say what the password is of.
func ReadHtpasswd(r io.Reader) (*Htpasswd, error) {
	table, err := readHtpasswd(r)
	if err != nil {
		return nil, err
	}
	return &Htpasswd{table: table}, nil
}

// OpenHtpasswd reads a file as ReadHtpasswd does, and again when it has changed.
// While it cannot be read, nobody passes: Verify returns the error. Apache:
// AuthUserFile.
func OpenHtpasswd(name string) (*Htpasswd, error) {
	h := &Htpasswd{name: name}
	if _, err := h.current(); err != nil {
		return nil, err
	}
	return h, nil
}

// current returns what the file says.
func (h *Htpasswd) current() (htpasswdTable, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); h.name != "" && (h.looked.IsZero() || now.Sub(h.looked) >= lookAgain) {
		h.looked = now
		h.look()
	}
	return h.table, h.err
}

// look reads the file if it is not the one that was seen.
func (h *Htpasswd) look() {
	now, err := os.Stat(h.name)
	if err == nil && h.err == nil && h.seen != nil && os.SameFile(now, h.seen) && now.ModTime().Equal(h.seen.ModTime()) && now.Size() == h.seen.Size() {
		return
	}
	h.seen, h.table, h.err = now, htpasswdTable{}, err
	if err != nil {
		return
	}
	f, err := os.Open(h.name)
	if err != nil {
		h.err = err
		return
	}
	defer f.Close()
	if h.table, err = readHtpasswd(f); err != nil {
		h.err = fmt.Errorf("%s: %w", h.name, err)
	}
}

func readHtpasswd(r io.Reader) (htpasswdTable, error) {
	h := htpasswdTable{hashes: make(map[string]string)}
	dearest := -1
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		if !ok || user == "" || !syntax.ValidValue(user) {
			return h, fmt.Errorf("access: htpasswd: line %d is not user:hash", n)
		}
		if _, again := h.hashes[user]; again {
			return h, fmt.Errorf("access: htpasswd: line %d: the user has a line already", n)
		}
		cost, err := hashCost(hash)
		if err != nil {
			return h, fmt.Errorf("access: htpasswd: line %d: %w", n, err)
		}
		if cost > dearest {
			dearest, h.slow = cost, hash
		}
		h.hashes[user] = hash
	}
	if err := lines.Err(); err != nil {
		return h, fmt.Errorf("access: htpasswd: %w", err)
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
	table, err := h.current()
	if err != nil {
		return false, err
	}
	hash, ok := table.hashes[user]
	if !ok {
		hash = table.slow
	}
	return fitsHash(hash, password) && ok, nil
}

// Stamp returns the hash of a user's password, or "" for nobody. It fits
// [BasicAuth].Stamp.
func (h *Htpasswd) Stamp(user string) string {
	table, _ := h.current() // an error has an empty table, and Verify says it
	return table.hashes[user]
}

// Len returns the number of users.
func (h *Htpasswd) Len() int {
	table, _ := h.current()
	return len(table.hashes)
}

func fitsHash(hash, password string) bool {
	if salt, want, ok := cutAPR1(hash); ok {
		return subtle.ConstantTimeCompare([]byte(apr1(password, salt)), []byte(want)) == 1
	}
	return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
}
