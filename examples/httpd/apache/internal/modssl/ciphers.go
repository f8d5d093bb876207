package modssl

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// suite is a cipher suite up to TLS 1.2 that crypto/tls has, and what OpenSSL's
// groups go by.
type suite struct {
	id       uint16
	name     string // OpenSSL's
	exchange string // ECDHE or RSA
	auth     string // RSA or ECDSA
	cipher   string // AES or CHACHA20
	bits     int
	mode     string // GCM, CBC or POLY1305
	mac      string // AEAD, SHA1 or SHA256
	since    string // the version that brought it
}

// suites leaves out RC4 and 3DES, which OpenSSL 3 is built without.
var suites = [...]suite{
	{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE", "ECDSA", "AES", 256, "GCM", "AEAD", "TLSv1.2"},
	{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE", "RSA", "AES", 256, "GCM", "AEAD", "TLSv1.2"},
	{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE", "ECDSA", "CHACHA20", 256, "POLY1305", "AEAD", "TLSv1.2"},
	{tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE", "RSA", "CHACHA20", 256, "POLY1305", "AEAD", "TLSv1.2"},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE", "ECDSA", "AES", 128, "GCM", "AEAD", "TLSv1.2"},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE", "RSA", "AES", 128, "GCM", "AEAD", "TLSv1.2"},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, "ECDHE-ECDSA-AES128-SHA256", "ECDHE", "ECDSA", "AES", 128, "CBC", "SHA256", "TLSv1.2"},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, "ECDHE-RSA-AES128-SHA256", "ECDHE", "RSA", "AES", 128, "CBC", "SHA256", "TLSv1.2"},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, "ECDHE-ECDSA-AES256-SHA", "ECDHE", "ECDSA", "AES", 256, "CBC", "SHA1", "TLSv1"},
	{tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, "ECDHE-RSA-AES256-SHA", "ECDHE", "RSA", "AES", 256, "CBC", "SHA1", "TLSv1"},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, "ECDHE-ECDSA-AES128-SHA", "ECDHE", "ECDSA", "AES", 128, "CBC", "SHA1", "TLSv1"},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, "ECDHE-RSA-AES128-SHA", "ECDHE", "RSA", "AES", 128, "CBC", "SHA1", "TLSv1"},
	{tls.TLS_RSA_WITH_AES_256_GCM_SHA384, "AES256-GCM-SHA384", "RSA", "RSA", "AES", 256, "GCM", "AEAD", "TLSv1.2"},
	{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, "AES128-GCM-SHA256", "RSA", "RSA", "AES", 128, "GCM", "AEAD", "TLSv1.2"},
	{tls.TLS_RSA_WITH_AES_128_CBC_SHA256, "AES128-SHA256", "RSA", "RSA", "AES", 128, "CBC", "SHA256", "TLSv1.2"},
	{tls.TLS_RSA_WITH_AES_256_CBC_SHA, "AES256-SHA", "RSA", "RSA", "AES", 256, "CBC", "SHA1", "SSLv3"},
	{tls.TLS_RSA_WITH_AES_128_CBC_SHA, "AES128-SHA", "RSA", "RSA", "AES", 128, "CBC", "SHA1", "SSLv3"},
}

// foreign are OpenSSL's groups in which no suite is that crypto/tls has.
const foreign = " NULL eNULL aNULL ADH AECDH DH EDH DHE kDHE kEDH kDH kDHr kDHd aDSS DSS aDH PSK aPSK kPSK kECDHEPSK kDHEPSK kRSAPSK SRP kSRP aSRP aGOST aGOST01 kGOST GOST GOST94 GOST89MAC" +
	" AESCCM AESCCM8 ARIA ARIA128 ARIA256 ARIAGCM CAMELLIA CAMELLIA128 CAMELLIA256 CBC SEED IDEA RC2 RC4 DES 3DES MD5 SHA384 MEDIUM LOW EXP EXPORT EXPORT40 EXPORT56 SSLv2 KRB5 kKRB5 aKRB5 FZA kFZA aFZA kECDHr kECDHe kECDH aECDH ECDHr COMPLEMENTOFALL COMPLEMENTOFDEFAULT "

// in reports whether a suite belongs to a group, or has that name.
func (s *suite) in(group string) bool {
	switch group {
	case s.name:
		return true
	case "ALL", "DEFAULT", "HIGH", "FIPS", "PROFILE=SYSTEM":
		return true
	case "ECDHE", "EECDH", "kECDHE", "kEECDH", "ECDH":
		return s.exchange == "ECDHE"
	case "RSA", "kRSA":
		return s.exchange == "RSA"
	case "aRSA":
		return s.auth == "RSA"
	case "aECDSA", "ECDSA":
		return s.auth == "ECDSA"
	case "AES":
		return s.cipher == "AES"
	case "AES128", "AES256":
		return s.cipher == "AES" && group == "AES"+strconv.Itoa(s.bits)
	case "AESGCM":
		return s.mode == "GCM"
	case "CHACHA20":
		return s.cipher == "CHACHA20"
	case "SHA", "SHA1":
		return s.mac == "SHA1"
	case "SHA256":
		return s.mac == "SHA256"
	case "TLSv1.0":
		return s.since == "TLSv1"
	case "TLSv1", "TLSv1.2", "SSLv3":
		return s.since == group
	}
	return false
}

func isGroup(word string) bool {
	if strings.Contains(foreign, " "+word+" ") {
		return true
	}
	return slices.ContainsFunc(suites[:], func(s suite) bool { return s.in(word) })
}

// Ciphers is what a cipher string leaves.
type Ciphers struct {
	// IDs are the suites up to TLS 1.2 for a tls.Config. Their order is not that
	// of the string: crypto/tls has its own.
	IDs []uint16

	// Missing are the suites and words that the string asks for by name, and that
	// crypto/tls does not have.
	Missing []string

	// Level is that of @SECLEVEL, below zero without.
	Level int
}

// ParseCiphers reads a cipher string of OpenSSL. That nothing is left is an error.
func ParseCiphers(text string) (Ciphers, error) {
	c := Ciphers{Level: -1}
	var on, killed [len(suites)]bool
	seen := make(map[string]bool)
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(":,; ", r) }) {
		if command, ok := strings.CutPrefix(word, "@"); ok {
			level, found := strings.CutPrefix(command, "SECLEVEL=")
			n, err := strconv.Atoi(level)
			switch {
			case found && err == nil && n >= 0 && n <= 5:
				c.Level = n
			case command != "STRENGTH":
				return c, fmt.Errorf("%q is not known", word)
			}
			continue
		}
		sign := byte(0)
		if strings.IndexByte("!-+", word[0]) >= 0 {
			sign, word = word[0], word[1:]
		}
		parts := strings.Split(word, "+")
		for _, part := range parts {
			if sign == 0 && !isGroup(part) && !seen[part] {
				seen[part] = true
				c.Missing = append(c.Missing, part)
			}
		}
		for i := range suites {
			if slices.ContainsFunc(parts, func(part string) bool { return !suites[i].in(part) }) {
				continue
			}
			switch sign {
			case 0:
				on[i] = !killed[i]
			case '-':
				on[i] = false
			case '!':
				on[i], killed[i] = false, true
			}
		}
	}
	for i, s := range suites {
		if on[i] {
			c.IDs = append(c.IDs, s.id)
		}
	}
	if len(c.IDs) == 0 {
		return c, errors.New("none of the suites is one that Go has")
	}
	return c, nil
}

// ForHTTP2 reports whether any of the suites up to TLS 1.2 is one that HTTP/2 may
// use (RFC 9113, Appendix A). No list means Go's own.
func ForHTTP2(ids []uint16) bool {
	return ids == nil || slices.ContainsFunc(suites[:], func(s suite) bool {
		return s.exchange == "ECDHE" && s.mac == "AEAD" && slices.Contains(ids, s.id)
	})
}

// CipherName is OpenSSL's name of a suite, and the bits of its key; that of the
// RFCs for one that is not in its lists.
func CipherName(id uint16) (name string, bits int) {
	for i := range suites {
		if suites[i].id == id {
			return suites[i].name, suites[i].bits
		}
	}
	switch id {
	case tls.TLS_AES_128_GCM_SHA256:
		return "TLS_AES_128_GCM_SHA256", 128
	case tls.TLS_AES_256_GCM_SHA384:
		return "TLS_AES_256_GCM_SHA384", 256
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		return "TLS_CHACHA20_POLY1305_SHA256", 256
	}
	return tls.CipherSuiteName(id), 0
}

// Curves reads the groups of a key exchange, as in SSLOpenSSLConfCmd Curves.
func Curves(text string) (ids []tls.CurveID, missing []string) {
	for word := range strings.SplitSeq(text, ":") {
		word = strings.TrimPrefix(strings.TrimSpace(word), "?")
		switch strings.ToUpper(strings.ReplaceAll(word, "-", "")) {
		case "X25519":
			ids = append(ids, tls.X25519)
		case "PRIME256V1", "P256", "SECP256R1":
			ids = append(ids, tls.CurveP256)
		case "SECP384R1", "P384":
			ids = append(ids, tls.CurveP384)
		case "SECP521R1", "P521":
			ids = append(ids, tls.CurveP521)
		case "X25519MLKEM768":
			ids = append(ids, tls.X25519MLKEM768)
		default:
			missing = append(missing, word)
		}
	}
	return ids, missing
}
