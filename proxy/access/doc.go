// Package access is for those who put a site or a forward proxy together: who may
// come in (addresses, passwords), who may use the forward proxy, and where it may
// go. Who writes a transport does not need it.
//
//	client ─► RemoteIP: whose address is it? ─► Access: may this address? ─► BasicAuth: may this user? ─► site
//	client ─► Forward ─► Clients: may they use the proxy? ─► Destinations: may they go there? ─► Remotes: by which way? ─► origin
//
// [Access], [BasicAuth] and [RemoteIP] are middleware: Wrap puts one around
// a handler. [Clients] and [Destinations] are the rules of a forward proxy
// and of CONNECT; [Destinations] resolves, checks and dials, so that what was
// checked is what is connected to. Users and passwords can come from
// an [Htpasswd] file.
package access
