package disk

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"path/filepath"
	"strings"
)

// keyHash stands for a key in names of files and in the index: the first half
// of its SHA-256. Two keys with one hash do no harm, whole keys are compared.
type keyHash [16]byte

func hashKey(key string) keyHash {
	sum := sha256.Sum256([]byte(key))
	return keyHash(sum[:])
}

// entryName names the files of one entry. old is the entry that it took the
// place of: being in the name of its metadata, the rename that makes the one
// visible ends the other.
type entryName struct {
	hash    keyHash
	id, old uint64
}

// Endings of names. A body means nothing until there is metadata with its id,
// so it needs no temporary name; metadata is written to a temporary one.
const (
	bodyExt = ".b"
	metaExt = ".m"
	tempExt = ".t"
)

// layout tells where files are.
type layout struct {
	root           string
	levels, length int
}

// appendDir appends the directory of a hash, the leaf.
func (l *layout) appendDir(b []byte, h keyHash) []byte {
	var digits [2 * len(h)]byte
	hex.Encode(digits[:], h[:])
	b = append(b, l.root...)
	for i := range l.levels {
		b = append(b, filepath.Separator)
		b = append(b, digits[i*l.length:(i+1)*l.length]...)
	}
	return b
}

func (l *layout) dir(h keyHash) string { return string(l.appendDir(nil, h)) }

func (l *layout) path(h keyHash, id, second uint64, ext string) string {
	b := make([]byte, 0, len(l.root)+l.levels*(l.length+1)+1+32+17+17+2)
	b = append(l.appendDir(b, h), filepath.Separator)
	b = append(hex.AppendEncode(b, h[:]), '-')
	b = appendHex(b, id)
	if second != 0 {
		b = appendHex(append(b, '-'), second)
	}
	return string(append(b, ext...))
}

func appendHex(b []byte, v uint64) []byte {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], v)
	return hex.AppendEncode(b, raw[:])
}

func (l *layout) body(n entryName) string { return l.path(n.hash, n.id, 0, bodyExt) }
func (l *layout) meta(n entryName) string { return l.path(n.hash, n.id, n.old, metaExt) }

// parseName takes apart the name of a file, without its directory. What is not
// exactly a name of ours is somebody else's file and stays alone.
func parseName(s string) (n entryName, ext string, ok bool) {
	ext = filepath.Ext(s)
	if ext != bodyExt && ext != metaExt && ext != tempExt {
		return n, "", false
	}
	s = strings.TrimSuffix(s, ext)
	hash, ids, _ := strings.Cut(s, "-")
	first, second, two := strings.Cut(ids, "-")
	if len(hash) != 2*len(n.hash) || !decodeHex(n.hash[:], hash) {
		return n, "", false
	}
	if n.id, ok = parseHex(first); !ok || n.id == 0 {
		return n, "", false
	}
	if two {
		if n.old, ok = parseHex(second); !ok || n.old == 0 || ext == bodyExt {
			return n, "", false
		}
	}
	return n, ext, true
}

func parseHex(s string) (uint64, bool) {
	var raw [8]byte
	if len(s) != 2*len(raw) || !decodeHex(raw[:], s) {
		return 0, false
	}
	return binary.BigEndian.Uint64(raw[:]), true
}

// decodeHex takes lower case only: each name is written in one way.
func decodeHex(dst []byte, s string) bool {
	if strings.ToLower(s) != s {
		return false
	}
	_, err := hex.Decode(dst, []byte(s))
	return err == nil
}
