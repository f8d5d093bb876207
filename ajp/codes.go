package ajp

// Sizes of packets, in bytes with their head of 4.
const (
	// DefaultPacketSize is what both ends assume unless told otherwise.
	DefaultPacketSize = 8192

	// MaxPacketSize is the most that either end can be told.
	MaxPacketSize = 65536

	headSize = 4            // magic and length
	bodyHead = headSize + 2 // of a packet of a request's body: its head and the length of the data
)

// Magic numbers: which way a packet goes.
const (
	toContainer = 0x1234 // proxy to container
	toProxy     = 0x4142 // container to proxy: "AB"
)

// Types of packets, proxy to container. Packets of a body have none.
const (
	typeForwardRequest = 2
	typeShutdown       = 7 // never sent, never honoured
	typePing           = 8 // never sent
	typeCPing          = 10
)

// Types of packets, container to proxy.
const (
	typeSendBodyChunk = 3
	typeSendHeaders   = 4
	typeEndResponse   = 5
	typeGetBodyChunk  = 6
	typeCPong         = 9
)

// methodStored is the method byte of a request whose method is given in full
// by the attribute stored_method.
const methodStored = 0xFF

// methods are the methods with a code, in the order of their codes, which begin
// at 1.
var methods = [...]string{
	"OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK",
	"ACL", "REPORT", "VERSION-CONTROL", "CHECKIN", "CHECKOUT", "UNCHECKOUT", "SEARCH", "MKWORKSPACE", "UPDATE", "LABEL", "MERGE",
	"BASELINE-CONTROL", "MKACTIVITY",
}

// methodCode returns the code of a method, or methodStored.
func methodCode(method string) byte {
	switch method { // the frequent ones
	case "GET", "":
		return 2
	case "POST":
		return 4
	case "HEAD":
		return 3
	}
	for i, m := range methods {
		if m == method {
			return byte(i + 1)
		}
	}
	return methodStored
}

// nameCode marks a name that is given as a code. The length of a string never
// begins with this byte.
const nameCode = 0xA000

// requestNames are the fields of requests with a code, in the order of their
// codes, which begin at A001.
var requestNames = [...]string{
	"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Authorization", "Connection", "Content-Type", "Content-Length",
	"Cookie", "Cookie2", "Host", "Pragma", "Referer", "User-Agent",
}

// Codes of fields that are written here.
const (
	codeContentLength = nameCode + 8
	codeHost          = nameCode + 11
)

// requestNameCode returns the code of a field of a request, or 0.
func requestNameCode(name string) int {
	switch name {
	case "Accept":
		return nameCode + 1
	case "Accept-Charset":
		return nameCode + 2
	case "Accept-Encoding":
		return nameCode + 3
	case "Accept-Language":
		return nameCode + 4
	case "Authorization":
		return nameCode + 5
	case "Connection":
		return nameCode + 6
	case "Content-Type":
		return nameCode + 7
	case "Content-Length":
		return codeContentLength
	case "Cookie":
		return nameCode + 9
	case "Cookie2":
		return nameCode + 10
	case "Host":
		return codeHost
	case "Pragma":
		return nameCode + 12
	case "Referer":
		return nameCode + 13
	case "User-Agent":
		return nameCode + 14
	}
	return 0
}

// responseNames are the fields of answers with a code, in the order of their
// codes, which begin at A001.
var responseNames = [...]string{
	"Content-Type", "Content-Language", "Content-Length", "Date", "Last-Modified", "Location", "Set-Cookie", "Set-Cookie2",
	"Servlet-Engine", "Status", "Www-Authenticate",
}

// responseNameCode returns the code of a field of an answer, or 0.
func responseNameCode(name string) int {
	switch name {
	case "Content-Type":
		return nameCode + 1
	case "Content-Language":
		return nameCode + 2
	case "Content-Length":
		return nameCode + 3
	case "Date":
		return nameCode + 4
	case "Last-Modified":
		return nameCode + 5
	case "Location":
		return nameCode + 6
	case "Set-Cookie":
		return nameCode + 7
	case "Set-Cookie2":
		return nameCode + 8
	case "Servlet-Engine":
		return nameCode + 9
	case "Status":
		return nameCode + 10
	case "Www-Authenticate":
		return nameCode + 11
	}
	return 0
}

// Attributes of a request.
const (
	attrContext      = 0x01 // unused by both ends
	attrServletPath  = 0x02 // unused by both ends
	attrRemoteUser   = 0x03
	attrAuthType     = 0x04
	attrQueryString  = 0x05
	attrRoute        = 0x06
	attrSSLCert      = 0x07 // PEM
	attrSSLCipher    = 0x08
	attrSSLSession   = 0x09
	attrNamed        = 0x0A // a name and a value
	attrSSLKeySize   = 0x0B // an integer
	attrSecret       = 0x0C
	attrStoredMethod = 0x0D
	attrEnd          = 0xFF
)

// Named attributes that a proxy sends by itself, as httpd does.
const (
	nameRemotePort  = "AJP_REMOTE_PORT"
	nameLocalAddr   = "AJP_LOCAL_ADDR"
	nameSSLProtocol = "AJP_SSL_PROTOCOL"
)
