package access

import (
	"crypto/md5"
	"strings"
)

// apr1Prefix marks a hash that APR makes by MD5: a variant of FreeBSD's, whose
// files are still about.
const apr1Prefix = "$apr1$"

// cutAPR1 takes "$apr1$salt$digest" apart. The last digit has two bits.
func cutAPR1(hash string) (salt, digest string, ok bool) {
	rest, ok := strings.CutPrefix(hash, apr1Prefix)
	if !ok {
		return "", "", false
	}
	salt, digest, ok = strings.Cut(rest, "$")
	return salt, digest, ok && salt != "" && len(salt) <= 8 && len(digest) == 22 && strings.Trim(salt+digest, cryptDigits) == "" && digest[21] <= '1'
}

// cryptDigits are the digits of crypt's base 64, from zero.
const cryptDigits = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// apr1 returns the digest part of a password's hash.
func apr1(password, salt string) string {
	alternate := md5.Sum([]byte(password + salt + password))
	m := md5.New()
	write := func(s string) { _, _ = m.Write([]byte(s)) }
	write(password + apr1Prefix + salt)
	for left := len(password); left > 0; left -= md5.Size {
		_, _ = m.Write(alternate[:min(left, md5.Size)])
	}
	for bits := len(password); bits > 0; bits >>= 1 {
		if bits&1 == 1 {
			write("\x00")
		} else {
			write(password[:1])
		}
	}
	sum := m.Sum(nil)
	for round := range 1000 {
		m.Reset()
		odd := round&1 == 1
		if odd {
			write(password)
		} else {
			_, _ = m.Write(sum)
		}
		if round%3 != 0 {
			write(salt)
		}
		if round%7 != 0 {
			write(password)
		}
		if odd {
			_, _ = m.Write(sum)
		} else {
			write(password)
		}
		sum = m.Sum(sum[:0])
	}
	return encodeAPR1(sum)
}

// encodeAPR1 writes the sum in groups of three bytes from all over it, each
// from its lowest bits.
func encodeAPR1(sum []byte) string {
	var b strings.Builder
	group := func(v uint, digits int) {
		for range digits {
			b.WriteByte(cryptDigits[v&63])
			v >>= 6
		}
	}
	for i := range 5 {
		last := i + 12
		if i == 4 {
			last = 5
		}
		group(uint(sum[i])<<16|uint(sum[i+6])<<8|uint(sum[last]), 4)
	}
	group(uint(sum[11]), 2)
	return b.String()
}
