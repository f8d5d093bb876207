// Package tomcat runs the real Tomcat for the tests of examples.
package tomcat

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const home = "/usr/share/tomcat10"

// Tomcat is a running Tomcat with an AJP connector, and one of HTTP if that is
// asked for.
type Tomcat struct {
	Addr     string // of the connector
	HTTPAddr string // of that of HTTP

	cmd   *exec.Cmd
	ended chan struct{}
	out   bytes.Buffer // read it after ended
}

// Options say how it runs.
type Options struct {
	Secret string
	Route  string            // jvmRoute; empty means node1
	HTTP   bool              // has a connector of HTTP as well
	Pages  map[string]string // further pages of the root application, by file name
}

// Start runs a Tomcat that ends with the test. It serves a page index.html, the
// given ones, and Debian's example applications under /examples. Without
// Tomcat the test is skipped, or fails under MODPROXY_INTEROP=require.
func Start(t *testing.T, o Options) *Tomcat {
	t.Helper()
	java, err := exec.LookPath("java")
	if err != nil {
		missing(t, "java", "default-jre-headless")
	}
	web, err := os.ReadFile("/etc/tomcat10/web.xml")
	if err != nil {
		missing(t, "Tomcat", "tomcat10")
	}
	if _, err := os.Stat(home + "-examples/examples"); err != nil {
		missing(t, "Tomcat's examples", "tomcat10-examples")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := l.Addr().(*net.TCPAddr)
	must(t, l.Close())
	httpAddr, httpConnector := "", ""
	if o.HTTP {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		httpAddr = l.Addr().String()
		must(t, l.Close())
		httpConnector = fmt.Sprintf(`<Connector port="%d" address="127.0.0.1"/>`, l.Addr().(*net.TCPAddr).Port)
	}
	access := `secretRequired="false"`
	if o.Secret != "" {
		access = fmt.Sprintf("secret=%q", o.Secret)
	}
	base := t.TempDir()
	files := map[string]string{
		"conf/web.xml": string(web),
		"conf/server.xml": fmt.Sprintf(`<Server port="-1"><Service name="Catalina">
<Connector protocol="AJP/1.3" address="127.0.0.1" port="%d" tomcatAuthentication="false" allowedRequestAttributesPattern="ORG" %s/>%s
<Engine name="Catalina" defaultHost="localhost" jvmRoute="%s"><Host name="localhost" appBase="webapps" autoDeploy="false">
<Context path="/examples" docBase="%s-examples/examples"><Resources allowLinking="true"/></Context>
</Host></Engine></Service></Server>`, addr.Port, access, httpConnector, cmp.Or(o.Route, "node1"), home),
		"webapps/ROOT/index.html": "tomcat root\n",
		"temp/x":                  "",
		"logs/x":                  "",
	}
	for name, text := range o.Pages {
		files["webapps/ROOT/"+name] = text
	}
	for name, text := range files {
		path := filepath.Join(base, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	c := &Tomcat{Addr: addr.String(), HTTPAddr: httpAddr, ended: make(chan struct{})}
	c.cmd = exec.Command(java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Djava.util.logging.config.file=/dev/null", "-Djava.io.tmpdir="+base+"/temp",
		"-Dcatalina.home="+home, "-Dcatalina.base="+base, "-cp", home+"/bin/bootstrap.jar:"+home+"/bin/tomcat-juli.jar",
		"org.apache.catalina.startup.Bootstrap", "start")
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	c.cmd.WaitDelay = 5 * time.Second
	must(t, c.cmd.Start())
	go func() {
		defer close(c.ended)
		_ = c.cmd.Wait()
	}()
	t.Cleanup(func() {
		c.Kill()
		if t.Failed() {
			t.Logf("Tomcat wrote:\n%s", c.out.String())
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); ; {
		if listens(c.Addr) && (httpAddr == "" || listens(httpAddr)) {
			return c
		}
		select {
		case <-tick.C:
		case <-c.ended:
			t.Fatal("Tomcat has ended")
		case <-late:
			t.Fatal("Tomcat does not listen")
		}
	}
}

func listens(addr string) bool {
	nc, err := net.Dial("tcp", addr)
	if err == nil {
		_ = nc.Close()
	}
	return err == nil
}

// Kill ends it without a word.
func (c *Tomcat) Kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func missing(t *testing.T, what, debian string) {
	t.Helper()
	text := fmt.Sprintf("%s is not installed; it is in the Debian package %s", what, debian)
	if os.Getenv("MODPROXY_INTEROP") == "require" {
		t.Fatal(text)
	}
	t.Skip(text)
}
