// Package digest checks the credentials of the Digest scheme (RFC 7616) with MD5,
// as httpd's mod_auth_digest does.
//
//	challenge ─► nonce: the time, and a keyed digest of it and the realm
//	Authorization ─► Parse ─► Credentials ─► Digest.Check: is the URI that of the
//	request, the response that of the user, and the nonce ours and young?
//
// A nonce is good for some minutes and for any number of requests; that it was
// made here is seen from itself, so nothing is kept.
package digest
