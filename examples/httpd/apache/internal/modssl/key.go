package modssl

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// errPassphrase is of a key that cannot be read without being asked for.
var errPassphrase = errors.New("the key is encrypted and nobody can be asked for its passphrase: take it away (openssl pkey), or name a program with SSLPassPhraseDialog exec:program")

// keyOf returns the private key of a text, decrypted.
func keyOf(text []byte, passphrase func() ([]byte, error)) (*pem.Block, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("no private key is in it")
		}
		text = rest
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		modern := block.Type == "ENCRYPTED PRIVATE KEY"
		if !modern && !strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return block, nil
		}
		if passphrase == nil {
			return nil, errPassphrase
		}
		words, err := passphrase()
		if err != nil {
			return nil, err
		}
		if modern {
			return decryptPKCS8(block.Bytes, words)
		}
		return decryptLegacy(block, words)
	}
}

// pbes2 is an encrypted PKCS #8 key (RFC 5958) with the parameters of PBES2 (RFC
// 8018).
type pbes2 struct {
	Algorithm struct {
		ID         asn1.ObjectIdentifier
		Parameters struct {
			KDF struct {
				ID         asn1.ObjectIdentifier
				Parameters struct {
					Salt       []byte
					Iterations int
					KeyLength  int                      `asn1:"optional"`
					PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
				}
			}
			Cipher struct {
				ID asn1.ObjectIdentifier
				IV []byte
			}
		}
	}
	Data []byte
}

// maxIterations bounds the work that a file can ask for.
const maxIterations = 10_000_000

func decryptPKCS8(der, passphrase []byte) (*pem.Block, error) {
	var e pbes2
	if _, err := asn1.Unmarshal(der, &e); err != nil {
		return nil, errors.New("the key's encryption is not PBES2: write it anew with openssl pkcs8 -topk8 -v2 aes256")
	}
	kdf, c := &e.Algorithm.Parameters.KDF, &e.Algorithm.Parameters.Cipher
	size := map[string]int{"2.16.840.1.101.3.4.1.2": 16, "2.16.840.1.101.3.4.1.22": 24, "2.16.840.1.101.3.4.1.42": 32}[c.ID.String()]
	var h func() hash.Hash
	switch prf := kdf.Parameters.PRF.Algorithm.String(); prf {
	case "", "1.2.840.113549.2.7":
		h = sha1.New
	case "1.2.840.113549.2.9":
		h = sha256.New
	}
	if kdf.ID.String() != "1.2.840.113549.1.5.12" || size == 0 || h == nil || len(c.IV) != aes.BlockSize || kdf.Parameters.Iterations < 1 || kdf.Parameters.Iterations > maxIterations {
		return nil, errors.New("the key's encryption is not AES-CBC with PBKDF2: write it anew with openssl pkcs8 -topk8 -v2 aes256")
	}
	key, err := pbkdf2.Key(h, string(passphrase), kdf.Parameters.Salt, kdf.Parameters.Iterations, size)
	if err != nil {
		return nil, err
	}
	plain, err := decryptCBC(key, c.IV, e.Data)
	if err != nil {
		return nil, err
	}
	return &pem.Block{Type: "PRIVATE KEY", Bytes: plain}, nil
}

// decryptLegacy reads the older form, whose fields say how it is encrypted.
func decryptLegacy(block *pem.Block, passphrase []byte) (*pem.Block, error) {
	name, text, _ := strings.Cut(block.Headers["DEK-Info"], ",")
	size := map[string]int{"AES-128-CBC": 16, "AES-192-CBC": 24, "AES-256-CBC": 32}[name]
	iv, err := hex.DecodeString(text)
	if size == 0 || err != nil || len(iv) != aes.BlockSize {
		return nil, fmt.Errorf("the key's encryption %q is not AES-CBC: write it anew with openssl pkcs8 -topk8 -v2 aes256", name)
	}
	var key, last []byte // as EVP_BytesToKey makes it
	for len(key) < size {
		sum := md5.New()
		sum.Write(last)
		sum.Write(passphrase)
		sum.Write(iv[:8])
		last = sum.Sum(nil)
		key = append(key, last...)
	}
	plain, err := decryptCBC(key[:size], iv, block.Bytes)
	if err != nil {
		return nil, err
	}
	return &pem.Block{Type: block.Type, Bytes: plain}, nil
}

func decryptCBC(key, iv, data []byte) ([]byte, error) {
	wrong := errors.New("the passphrase does not fit the key")
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 || len(data)%aes.BlockSize != 0 {
		return nil, wrong
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(c, iv).CryptBlocks(plain, data)
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > aes.BlockSize || plain[0] != 0x30 {
		return nil, wrong
	}
	return plain[:len(plain)-pad], nil
}
