package ajp

import (
	"testing"

	"github.com/modproxy/modproxy/examples/programs"
)

// startTomcat runs the real Tomcat with pages for these tests, and returns its
// URL as well.
func startTomcat(t *testing.T, o programs.TomcatOptions) (p *programs.Program, url string) {
	t.Helper()
	o.Pages = tomcatPages
	p = programs.Tomcat(t, o)
	return p, "ajp://" + p.Addr
}

var tomcatPages = map[string]string{
	"env.jsp":   envPage,
	"big.jsp":   `<%@ page contentType="application/octet-stream" %><% byte[] b = new byte[100000]; java.util.Arrays.fill(b, (byte) 'x'); java.io.OutputStream o = response.getOutputStream(); for (int i = 0; i < 105; i++) o.write(b); if (true) return; %>`,
	"stall.jsp": `<% out.print("begun"); out.flush(); response.flushBuffer(); Thread.sleep(60000); %>`,
	"slow.jsp":  `<% Thread.sleep(60000); %>`,
	"early.jsp": `<% response.sendError(403); if (true) return; %>`,
}

// envPage tells what a servlet sees of its request, a line for each fact.
const envPage = `<%@ page contentType="text/plain" %><% java.util.TreeMap<String,String> m = new java.util.TreeMap<>();
m.put("method", request.getMethod()); m.put("uri", request.getRequestURI()); m.put("query", String.valueOf(request.getQueryString()));
m.put("protocol", request.getProtocol()); m.put("scheme", request.getScheme()); m.put("secure", "" + request.isSecure());
m.put("server", request.getServerName() + ":" + request.getServerPort()); m.put("remote", request.getRemoteAddr()); m.put("port", "" + request.getRemotePort());
m.put("local", request.getLocalAddr()); m.put("user", String.valueOf(request.getRemoteUser())); m.put("auth", String.valueOf(request.getAuthType()));
for (String n : java.util.Collections.list(request.getHeaderNames())) m.put("header." + n.toLowerCase(), java.util.Collections.list(request.getHeaders(n)).toString());
for (String n : java.util.Collections.list(request.getAttributeNames())) m.put("attr." + n, String.valueOf(request.getAttribute(n)));
for (String n : "jakarta.servlet.request.cipher_suite jakarta.servlet.request.key_size AJP_SSL_PROTOCOL AJP_REMOTE_PORT org.tomcat.x".split(" ")) if (request.getAttribute(n) != null) m.put("attr." + n, String.valueOf(request.getAttribute(n)));
java.security.cert.X509Certificate[] c = (java.security.cert.X509Certificate[]) request.getAttribute("jakarta.servlet.request.X509Certificate"); if (c != null) m.put("certificate", c[0].getSubjectX500Principal().getName());
long total = 0; java.util.zip.CRC32 crc = new java.util.zip.CRC32(); byte[] b = new byte[8192]; int k;
java.io.InputStream in = request.getInputStream(); while ((k = in.read(b)) > 0) { total += k; crc.update(b, 0, k); }
m.put("body.length", "" + total); m.put("body.crc32", Long.toHexString(crc.getValue()));
for (java.util.Map.Entry<String,String> e : m.entrySet()) out.println(e.getKey() + "=" + e.getValue()); %>`

// startHTTPD runs Apache with these modules and directives, and returns its URL.
func startHTTPD(t *testing.T, modules, directives string) string {
	t.Helper()
	return "http://" + programs.HTTPD(t, modules, directives).Addr
}
