package programs

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

const tomcatHome = "/usr/share/tomcat10"

// TomcatOptions say how Tomcat runs.
type TomcatOptions struct {
	Secret     string
	Route      string            // jvmRoute; empty means node1
	Attributes string            // allowedRequestAttributesPattern
	PacketSize int               // zero means 8192
	Pages      map[string]string // files of the root application; index.html is there
}

// Tomcat runs Tomcat with an AJP connector and nothing else. It has Debian's
// example applications under /examples, and listens when they are there.
func Tomcat(t testing.TB, o TomcatOptions) *Program {
	t.Helper()
	java := Find(t, "default-jre-headless", "java")
	NeedFile(t, tomcatHome+"/bin/bootstrap.jar", "tomcat10")
	NeedFile(t, "/etc/tomcat10/web.xml", "tomcat10")
	NeedFile(t, tomcatHome+"-examples/examples", "tomcat10-examples")
	web, err := os.ReadFile("/etc/tomcat10/web.xml")
	require.NoError(t, err)
	base := t.TempDir()
	for name, text := range map[string]string{
		"conf/web.xml":            string(web),
		"webapps/ROOT/index.html": "tomcat root\n",
		"temp/x":                  "",
		"logs/x":                  "",
	} {
		write(t, base, name, text)
	}
	for name, text := range o.Pages {
		write(t, base, "webapps/ROOT/"+name, text)
	}
	access := `secretRequired="false"`
	if o.Secret != "" {
		access = fmt.Sprintf("secret=%q", o.Secret)
	}
	if o.Attributes != "" {
		access += fmt.Sprintf(" allowedRequestAttributesPattern=%q", o.Attributes)
	}
	return Serve(t, func(addr string) *exec.Cmd {
		_, port, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		write(t, base, "conf/server.xml", fmt.Sprintf(`<Server port="-1"><Service name="Catalina">
<Connector protocol="AJP/1.3" address="127.0.0.1" port="%s" bindOnInit="false" packetSize="%d" tomcatAuthentication="false" %s/>
<Engine name="Catalina" defaultHost="localhost" jvmRoute="%s"><Host name="localhost" appBase="webapps" autoDeploy="false">
<Context path="/examples" docBase="%s-examples/examples"><Resources allowLinking="true"/></Context>
</Host></Engine></Service></Server>`, port, cmp.Or(o.PacketSize, 8192), access, cmp.Or(o.Route, "node1"), tomcatHome))
		return exec.Command(java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Djava.util.logging.config.file=/dev/null",
			"-Djava.io.tmpdir="+base+"/temp", "-Dcatalina.home="+tomcatHome, "-Dcatalina.base="+base,
			"-cp", tomcatHome+"/bin/bootstrap.jar:"+tomcatHome+"/bin/tomcat-juli.jar", "org.apache.catalina.startup.Bootstrap", "start")
	})
}
