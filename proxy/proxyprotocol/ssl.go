package proxyprotocol

import (
	"encoding/binary"
	"fmt"
)

// SSL is what a proxy tells of the client's TLS, by a TLV of [TypeSSL].
type SSL struct {
	TLS         bool   // the client speaks TLS
	Certificate bool   // it has shown a certificate, now or in the session that it resumes
	Verified    bool   // which was verified
	Version     string // as OpenSSL writes it, such as "TLSv1.3"
	Cipher      string // the cipher suite
	CommonName  string // of the certificate's subject
}

const (
	sslTLS         = 0x01 // bits of the first byte
	sslCertConn    = 0x02
	sslCertSession = 0x04

	sslVersion = 0x21 // types of the TLVs inside
	sslCN      = 0x22
	sslCipher  = 0x23
)

// Append appends the value of the TLV. Texts must have less than 65536 bytes each.
func (s SSL) Append(dst []byte) []byte {
	var bits byte
	if s.TLS {
		bits = sslTLS
	}
	if s.Certificate {
		bits |= sslCertConn | sslCertSession
	}
	unverified := uint32(1)
	if s.Verified {
		unverified = 0
	}
	dst = binary.BigEndian.AppendUint32(append(dst, bits), unverified)
	for _, part := range []struct {
		kind byte
		text string
	}{{sslVersion, s.Version}, {sslCN, s.CommonName}, {sslCipher, s.Cipher}} {
		if part.text != "" {
			dst = appendTLV(dst, part.kind, part.text)
		}
	}
	return dst
}

// ParseSSL reads the value of a TLV of [TypeSSL].
func ParseSSL(value []byte) (SSL, error) {
	if len(value) < 5 {
		return SSL{}, fmt.Errorf("%w: TLV about TLS of %d bytes", ErrMalformed, len(value))
	}
	s := SSL{TLS: value[0]&sslTLS != 0, Certificate: value[0]&(sslCertConn|sslCertSession) != 0}
	s.Verified = s.Certificate && binary.BigEndian.Uint32(value[1:]) == 0
	err := eachTLV(value[5:], func(kind byte, value []byte) {
		switch kind {
		case sslVersion:
			s.Version = string(value)
		case sslCN:
			s.CommonName = string(value)
		case sslCipher:
			s.Cipher = string(value)
		}
	})
	if err != nil {
		return SSL{}, err
	}
	return s, nil
}

// eachTLV calls f for each TLV in b.
func eachTLV(b []byte, f func(kind byte, value []byte)) error {
	for len(b) > 0 {
		if len(b) < 3 {
			return fmt.Errorf("%w: %d bytes behind the last TLV", ErrMalformed, len(b))
		}
		end := 3 + int(binary.BigEndian.Uint16(b[1:]))
		if len(b) < end {
			return fmt.Errorf("%w: TLV of type %#x goes beyond the header", ErrMalformed, b[0])
		}
		f(b[0], b[3:end])
		b = b[end:]
	}
	return nil
}
