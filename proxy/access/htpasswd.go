package access

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
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
	kinds  map[string]string // a hash of each kind; see work
}

// lookAgain is how long it may take until a change of a file is seen.
const lookAgain = time.Second

// maxBcryptCost is that of htpasswd. Each step more takes twice as long.
const maxBcryptCost = "17"

// ReadHtpasswd reads lines "user:hash". Empty lines and those that begin with
// "#" are skipped. Hashes are bcrypt (htpasswd -B), Apache's MD5 (-m) or SHA-1
// without salt (-s), which old files have: who reads such a file finds its
// passwords in no time. The error names the line with any other, such as those of
// crypt(3), and a line that no password fits.
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

// maxHtpasswd bounds a file of accounts, in bytes.
const maxHtpasswd = 64 << 20

// look reads the file if it is not the one that was seen.
func (h *Htpasswd) look() {
	now, err := os.Stat(h.name)
	if err == nil && h.err == nil && h.seen != nil && os.SameFile(now, h.seen) && now.ModTime().Equal(h.seen.ModTime()) && now.Size() == h.seen.Size() {
		return
	}
	if err == nil && (!now.Mode().IsRegular() && !isNull(now) || now.Size() > maxHtpasswd) {
		err = fmt.Errorf("access: htpasswd: %s is no regular file of at most %d bytes", h.name, maxHtpasswd)
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

// isNull reports whether a file is the null device, which is a file without accounts.
func isNull(file os.FileInfo) bool {
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(file, null)
}

func readHtpasswd(r io.Reader) (htpasswdTable, error) {
	h := htpasswdTable{hashes: make(map[string]string), kinds: make(map[string]string)}
	lines := bufio.NewScanner(r)
	n := 1
	fail := func(what string) (htpasswdTable, error) { return h, fmt.Errorf("access: htpasswd: line %d%s", n, what) }
	for ; lines.Scan(); n++ {
		if strings.HasPrefix(lines.Text(), "\ufeff") {
			return fail(" begins with a byte order mark, which would be part of a name")
		}
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		if !ok || user == "" || len(user) >= maxCredentials || !syntax.ValidValue(user) {
			return fail(" is not user:hash")
		}
		if _, again := h.hashes[user]; again {
			return fail(": the user has a line already")
		}
		kind, err := hashKind(hash)
		if err != nil {
			return fail(": " + err.Error())
		}
		h.hashes[user], h.kinds[kind] = hash, hash
	}
	if err := lines.Err(); err != nil {
		return h, fmt.Errorf("access: htpasswd: line %d: %w", n, err)
	}
	return h, nil
}

// bcryptHash has the version, the cost, the salt, and the 184 bits of the digest
// in 31 digits, the last of which has two bits that are zero. The version 2x is
// of an error in how passwords beyond ASCII were hashed, 2 of one in their ends.
var bcryptHash = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{22}[./A-Za-z0-9]{30}[.CGKOSWaeimquy26]$`)

// hashKind checks that a password can fit a hash. Checking one against any hash
// of a kind costs the same.
func hashKind(hash string) (string, error) {
	if _, _, ok := cutAPR1(hash); ok {
		return apr1Prefix, nil
	}
	if parts := bcryptHash.FindStringSubmatch(hash); parts != nil {
		switch cost := parts[1]; {
		case cost < "04":
			return "", errors.New("bcrypt's cost is below 4")
		case cost > maxBcryptCost:
			return "", errors.New("bcrypt's cost is above " + maxBcryptCost)
		default:
			return cost, nil
		}
	}
	if isSHA(hash) {
		return shaPrefix, nil
	}
	for _, prefix := range []string{apr1Prefix, shaPrefix, "$2a$", "$2b$", "$2y$"} {
		if strings.HasPrefix(hash, prefix) {
			return "", errors.New("the hash is malformed")
		}
	}
	return "", errors.New("the hash is neither bcrypt (htpasswd -B) nor Apache's MD5 (-m) nor SHA-1 (-s); those of crypt are not read")
}

// work returns the hashes that a password is checked against, one of each kind
// in the file: the user's own, and for other kinds, or if there is no such user,
// that of somebody else. So an answer takes as long whoever the user is. It is
// twice what the dearest kind takes at most, since each step of bcrypt's cost
// is twice as dear as the one before.
func (t htpasswdTable) work(user string) []string {
	own := t.hashes[user]
	ownKind, _ := hashKind(own)
	list := make([]string, 0, len(t.kinds))
	for kind, hash := range t.kinds {
		if kind == ownKind {
			hash = own
		}
		list = append(list, hash)
	}
	return list
}

// Verify reports whether a password is that of the user. It takes as long for
// each user, and for one that does not exist: a password is checked against one
// hash of each kind, and cost, that is in the file. It fits [BasicAuth].Verify.
func (h *Htpasswd) Verify(_ context.Context, user, password string) (bool, error) {
	table, err := h.current()
	if err != nil {
		return false, err
	}
	own, known := table.hashes[user]
	good := false
	for _, hash := range table.work(user) {
		if fitsHash(hash, password) && known && hash == own {
			good = true
		}
	}
	return good, nil
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

// shaPrefix marks a hash that is SHA-1 in Base64.
const shaPrefix = "{SHA}"

func isSHA(hash string) bool {
	digest, ok := strings.CutPrefix(hash, shaPrefix)
	sum, err := base64.StdEncoding.Strict().DecodeString(digest)
	return ok && err == nil && len(sum) == sha1.Size
}

func fitsHash(hash, password string) bool {
	if salt, want, ok := cutAPR1(hash); ok {
		return subtle.ConstantTimeCompare([]byte(apr1(password, salt)), []byte(want)) == 1
	}
	if isSHA(hash) {
		sum := sha1.Sum([]byte(password))
		return subtle.ConstantTimeCompare([]byte(base64.StdEncoding.EncodeToString(sum[:])), []byte(hash[len(shaPrefix):])) == 1
	}
	return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
}
