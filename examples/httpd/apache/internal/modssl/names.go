package modssl

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// attribute is a part of a distinguished name.
type attribute struct {
	oid   string
	text  string
	plain bool // text is what it says; else its bytes in hexadecimal
}

// shortNames are OpenSSL's names of the usual attributes.
var shortNames = map[string]string{
	"2.5.4.6": "C", "2.5.4.8": "ST", "2.5.4.7": "L", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.3": "CN", "2.5.4.12": "title", "2.5.4.43": "initials", "2.5.4.42": "GN", "2.5.4.4": "SN",
	"2.5.4.13": "description", "2.5.4.5": "serialNumber", "2.5.4.9": "street", "2.5.4.17": "postalCode", "2.5.4.46": "dnQualifier", "2.5.4.65": "pseudonym", "2.5.4.97": "organizationIdentifier",
	"1.2.840.113549.1.9.1": "emailAddress", "0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC", "2.5.4.15": "businessCategory", "2.5.4.45": "x500UniqueIdentifier",
	"1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL", "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST", "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
}

// components are the parts of a name for which mod_ssl has variables.
var components = []struct{ name, oid string }{
	{"C", "2.5.4.6"}, {"ST", "2.5.4.8"}, {"SP", "2.5.4.8"}, {"L", "2.5.4.7"}, {"O", "2.5.4.10"}, {"OU", "2.5.4.11"}, {"CN", "2.5.4.3"}, {"T", "2.5.4.12"}, {"I", "2.5.4.43"}, {"G", "2.5.4.42"}, {"S", "2.5.4.4"},
	{"D", "2.5.4.13"}, {"UID", "0.9.2342.19200300.100.1.1"}, {"Email", "1.2.840.113549.1.9.1"},
}

// readName reads a name out of its DER.
func readName(raw []byte) [][]attribute {
	var sequence []asn1.RawValue
	if _, err := asn1.Unmarshal(raw, &sequence); err != nil {
		return nil
	}
	var name [][]attribute
	for _, set := range sequence {
		var members []pkixAttribute
		if _, err := asn1.UnmarshalWithParams(set.FullBytes, &members, "set"); err != nil {
			return nil
		}
		var group []attribute
		for _, m := range members {
			a := attribute{oid: m.Type.String()}
			a.text, a.plain = text(m.Value)
			group = append(group, a)
		}
		name = append(name, group)
	}
	return name
}

type pkixAttribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// text reads a string of one of ASN.1's kinds.
func text(v asn1.RawValue) (string, bool) {
	switch v.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagNumericString:
		return string(v.Bytes), true
	case asn1.TagT61String:
		runes := make([]rune, len(v.Bytes))
		for i, b := range v.Bytes {
			runes[i] = rune(b)
		}
		return string(runes), true
	case asn1.TagBMPString:
		var s string
		if _, err := asn1.Unmarshal(v.FullBytes, &s); err == nil {
			return s, true
		}
	}
	return "#" + strings.ToUpper(hex.EncodeToString(v.FullBytes)), false
}

func (a attribute) name() string {
	if n, ok := shortNames[a.oid]; ok {
		return n
	}
	return a.oid
}

// nameText is a name in the form of RFC 2253, as mod_ssl gives it; or with legacy
// in the older form "/C=…/CN=…".
func nameText(raw []byte, legacy bool) string {
	name := readName(raw)
	var b strings.Builder
	if legacy {
		for _, group := range name {
			for i, a := range group {
				mark := "/"
				if i > 0 {
					mark = "+"
				}
				b.WriteString(mark + a.name() + "=")
				for _, c := range []byte(a.text) {
					if c < ' ' || c > '~' {
						fmt.Fprintf(&b, `\x%02X`, c)
					} else {
						b.WriteByte(c)
					}
				}
			}
		}
		return b.String()
	}
	for i := len(name) - 1; i >= 0; i-- {
		for j := len(name[i]) - 1; j >= 0; j-- {
			a := name[i][j]
			b.WriteString(a.name() + "=")
			if a.plain {
				escapeName(&b, a.text)
			} else {
				b.WriteString(a.text)
			}
			switch {
			case j > 0:
				b.WriteByte('+')
			case i > 0:
				b.WriteByte(',')
			}
		}
	}
	return b.String()
}

func escapeName(b *strings.Builder, s string) {
	for i := range len(s) {
		switch c := s[i]; {
		case strings.IndexByte(`,+"\<>;`, c) >= 0, i == 0 && (c == '#' || c == ' '), i == len(s)-1 && c == ' ':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(b, `\%02X`, c)
		default:
			b.WriteByte(c)
		}
	}
}

// component returns a part of a name by mod_ssl's word for it: "CN", "OU_1" for
// the second of its kind.
func component(raw []byte, word string) string {
	word = strings.TrimSuffix(word, "_RAW")
	kind, number, numbered := strings.Cut(word, "_")
	n := 0
	if numbered {
		var err error
		if n, err = strconv.Atoi(number); err != nil || n < 0 {
			return ""
		}
	}
	for _, c := range components {
		if c.name != kind {
			continue
		}
		for _, group := range readName(raw) {
			for _, a := range group {
				if a.oid != c.oid {
					continue
				}
				if n == 0 {
					return a.text
				}
				n--
			}
		}
	}
	return ""
}

// eachComponent gives the variables of the parts of a name, without their prefix.
func eachComponent(raw []byte, give func(word, value string)) {
	counts := make(map[string]int)
	for _, group := range readName(raw) {
		for _, a := range group {
			for _, c := range components {
				if c.oid != a.oid || c.name == "SP" {
					continue
				}
				word := c.name
				if n := counts[a.oid]; n > 0 {
					word += "_" + strconv.Itoa(n)
				}
				counts[a.oid]++
				give(word, a.text)
			}
		}
	}
}
