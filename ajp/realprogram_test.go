package ajp

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// missing skips the test, or fails it if MODPROXY_INTEROP=require says that all
// programs ought to be there.
func missing(t *testing.T, what, debianPackage string) {
	t.Helper()
	text := fmt.Sprintf("%s is not installed; it is in the Debian package %s", what, debianPackage)
	if os.Getenv("MODPROXY_INTEROP") == "require" {
		t.Fatal(text)
	}
	t.Skip(text)
}

func installed(t *testing.T, program, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + program) // not in everybody's PATH
	}
	if err != nil {
		missing(t, program, debianPackage)
	}
	return path
}

// freeAddr returns an address of the loopback interface that was free just now.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// program is a running program.
type program struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	output lockedOutput
}

// start runs a server and waits until it accepts connections at addr.
func start(t *testing.T, addr string, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	cmd.WaitDelay = 5 * time.Second
	require.NoError(t, cmd.Start())
	go func() {
		defer close(p.ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", cmd.Path, p.output.String())
		}
	})
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 2*patience, 20*time.Millisecond, "%s does not accept connections at %s", cmd.Path, addr)
	return p
}

// kill ends the program without a word.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

func (p *program) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		p.kill()
	}
}

// lockedOutput collects what a program writes.
type lockedOutput struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *lockedOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *lockedOutput) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// tomcat is how a Tomcat is to run.
type tomcat struct {
	secret     string
	route      string
	attributes string // allowedRequestAttributesPattern
	packetSize int
	addr       string // to be used again after it was killed
	program    *program
}

const tomcatHome = "/usr/share/tomcat10"

// startTomcat runs the real Tomcat with an AJP connector, a page that tells
// what it sees, and Debian's example applications under /examples.
func startTomcat(t *testing.T, c *tomcat) string {
	t.Helper()
	java := installed(t, "java", "default-jre-headless")
	if _, err := os.Stat(tomcatHome + "/bin/bootstrap.jar"); err != nil {
		missing(t, "Tomcat", "tomcat10")
	}
	if _, err := os.Stat(tomcatHome + "-examples/examples"); err != nil {
		missing(t, "Tomcat's examples", "tomcat10-examples")
	}
	base := t.TempDir()
	for _, dir := range []string{"conf", "logs", "temp", "work", "webapps/ROOT"} {
		require.NoError(t, os.MkdirAll(filepath.Join(base, dir), 0o755))
	}
	if c.addr == "" {
		c.addr = freeAddr(t)
	}
	_, port, err := net.SplitHostPort(c.addr)
	require.NoError(t, err)
	access := `secretRequired="false"`
	if c.secret != "" {
		access = fmt.Sprintf("secret=%q", c.secret)
	}
	if c.attributes != "" {
		access += fmt.Sprintf(" allowedRequestAttributesPattern=%q", c.attributes)
	}
	web, err := os.ReadFile("/etc/tomcat10/web.xml")
	if err != nil {
		missing(t, "Tomcat's web.xml", "tomcat10")
	}
	files := map[string]string{
		"conf/web.xml": string(web),
		"conf/server.xml": fmt.Sprintf(`<Server port="-1"><Service name="Catalina">
<Connector protocol="AJP/1.3" address="127.0.0.1" port="%s" packetSize="%d" tomcatAuthentication="false" %s/>
<Engine name="Catalina" defaultHost="localhost" jvmRoute="%s"><Host name="localhost" appBase="webapps" autoDeploy="false">
<Context path="/examples" docBase="%s-examples/examples"><Resources allowLinking="true"/></Context>
</Host></Engine></Service></Server>`, port, packetSize(c.packetSize), access, c.route, tomcatHome),
		"webapps/ROOT/env.jsp":    envPage,
		"webapps/ROOT/big.jsp":    `<%@ page contentType="application/octet-stream" %><% byte[] b = new byte[100000]; java.util.Arrays.fill(b, (byte) 'x'); java.io.OutputStream o = response.getOutputStream(); for (int i = 0; i < 105; i++) o.write(b); if (true) return; %>`,
		"webapps/ROOT/stall.jsp":  `<% out.print("begun"); out.flush(); response.flushBuffer(); Thread.sleep(60000); %>`,
		"webapps/ROOT/slow.jsp":   `<% Thread.sleep(60000); %>`,
		"webapps/ROOT/early.jsp":  `<% response.sendError(403); if (true) return; %>`,
		"webapps/ROOT/index.html": "<html><body>tomcat root</body></html>\n",
	}
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(base, name), []byte(text), 0o644))
	}
	cmd := exec.Command(java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Djava.util.logging.config.file=/dev/null",
		"-Djava.io.tmpdir="+base+"/temp", "-Dcatalina.home="+tomcatHome, "-Dcatalina.base="+base,
		"-cp", tomcatHome+"/bin/bootstrap.jar:"+tomcatHome+"/bin/tomcat-juli.jar", "org.apache.catalina.startup.Bootstrap", "start")
	c.program = start(t, c.addr, cmd)
	return "ajp://" + c.addr
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

// startHTTPD runs Apache with these directives and returns its URL.
func startHTTPD(t *testing.T, directives string) string {
	t.Helper()
	apache := installed(t, "apache2", "apache2")
	const modules = "/usr/lib/apache2/modules/mod_"
	if _, err := os.Stat(modules + "proxy_ajp.so"); err != nil {
		missing(t, "mod_proxy_ajp", "apache2")
	}
	dir, err := os.MkdirTemp("", "modproxy-test-") // one that others than root may enter
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o777))
	addr := freeAddr(t)
	var conf strings.Builder
	for _, m := range []string{"mpm_event", "authz_core", "proxy", "proxy_ajp", "env", "setenvif", "ssl", "socache_shmcb"} {
		fmt.Fprintf(&conf, "LoadModule %s_module %s%s.so\n", m, modules, m)
	}
	fmt.Fprintf(&conf, `ServerRoot %[1]s
ServerName localhost
PidFile %[1]s/pid
DefaultRuntimeDir %[1]s
Mutex file:%[1]s default
ErrorLog /dev/stderr
Listen %[2]s
StartServers 1
ThreadsPerChild 25
MaxRequestWorkers 25
`, dir, addr)
	if u, err := user.Current(); err == nil && u.Uid == "0" {
		conf.WriteString("User www-data\nGroup www-data\n")
	}
	conf.WriteString(directives)
	file := filepath.Join(dir, "httpd.conf")
	require.NoError(t, os.WriteFile(file, []byte(conf.String()), 0o644))
	start(t, addr, exec.Command(apache, "-D", "FOREGROUND", "-f", file))
	return "http://" + addr
}
