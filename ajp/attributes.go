package ajp

import "context"

// Attribute is a named attribute of a request (code 0A), which a servlet reads
// by getAttribute. Containers refuse names that they do not expect: Tomcat's
// allowedRequestAttributesPattern.
type Attribute struct{ Name, Value string }

// Attributes are what a [Server] was told of a request beside what an
// http.Request has room for. The user is [access.User].
type Attributes struct {
	// Route is the part of the session identifier that names the server
	// (jvm_route). mod_jk sends it; mod_proxy_ajp does not.
	Route string

	// SSLCipher and SSLSession are the cipher in the words of the proxy, such
	// as "ECDHE-RSA-AES256-GCM-SHA384", and the identifier of the TLS session.
	SSLCipher, SSLSession string

	// SSLKeySize is the number of bits of the key in use; 0 if not told.
	SSLKeySize int

	// RemotePort and LocalAddr are the client's port and the address at which
	// its connection arrived, as the proxy tells them; empty if it does not.
	RemotePort, LocalAddr string

	// SSLProtocol is the version of TLS, such as "TLSv1.3".
	SSLProtocol string

	// Named are the other named attributes, as far as Server.AllowAttribute
	// lets them in, in the order in which they came: httpd sends each variable
	// AJP_X of its environment as X.
	Named []Attribute
}

// Get returns the last value of a named attribute, and whether there is one.
func (a *Attributes) Get(name string) (value string, ok bool) {
	if a == nil {
		return "", false
	}
	for i := len(a.Named) - 1; i >= 0; i-- {
		if a.Named[i].Name == name {
			return a.Named[i].Value, true
		}
	}
	return "", false
}

type attributesKey struct{}

// AttributesFrom returns the attributes of a request that a [Server] has
// received, or nil. They must not be changed.
func AttributesFrom(ctx context.Context) *Attributes {
	a, _ := ctx.Value(attributesKey{}).(*Attributes)
	return a
}
