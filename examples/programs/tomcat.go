package programs

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

const tomcatHome = "/usr/share/tomcat10"

// TomcatOptions say how Tomcat runs.
type TomcatOptions struct {
	HTTP       bool // speaks HTTP in place of AJP
	Secret     string
	Route      string            // jvmRoute; empty means node1
	Attributes string            // allowedRequestAttributesPattern
	PacketSize int               // zero means 8192
	Pages      map[string]string // files of the root application; index.html is there
}

// Tomcat runs Tomcat with one connector and nothing else. It has Debian's
// example applications under /examples, and listens when they are there.
func Tomcat(t testing.TB, o TomcatOptions) *Program {
	t.Helper()
	java := Find(t, "default-jre-headless", "java")
	NeedFile(t, tomcatHome+"/bin/bootstrap.jar", "tomcat10")
	NeedFile(t, "/etc/tomcat10/web.xml", "tomcat10")
	NeedFile(t, tomcatHome+"-examples/examples", "tomcat10-examples")
	web, err := os.ReadFile("/etc/tomcat10/web.xml")
	need(t, err)
	base := t.TempDir()
	files := map[string]string{
		"conf/web.xml":            string(web),
		"webapps/ROOT/index.html": "tomcat root\n",
		"temp/x":                  "",
		"logs/x":                  "",
	}
	for name, text := range o.Pages {
		files["webapps/ROOT/"+name] = text
	}
	for name, text := range files {
		_, err := write(base, name, text)
		need(t, err)
	}
	access := `secretRequired="false"`
	if o.Secret != "" {
		access = fmt.Sprintf("secret=%q", o.Secret)
	}
	if o.Attributes != "" {
		access += fmt.Sprintf(" allowedRequestAttributesPattern=%q", o.Attributes)
	}
	connector := fmt.Sprintf(`protocol="AJP/1.3" packetSize="%d" tomcatAuthentication="false" %s`, cmp.Or(o.PacketSize, 8192), access)
	if o.HTTP {
		connector = `protocol="HTTP/1.1"`
	}
	return Serve(t, func(addr string) (*exec.Cmd, error) {
		_, err := write(base, "conf/server.xml", fmt.Sprintf(`<Server port="-1"><Service name="Catalina">
<Connector address="127.0.0.1" port="%s" bindOnInit="false" %s/>
<Engine name="Catalina" defaultHost="localhost" jvmRoute="%s"><Host name="localhost" appBase="webapps" autoDeploy="false">
<Context path="/examples" docBase="%s-examples/examples"><Resources allowLinking="true"/></Context>
</Host></Engine></Service></Server>`, port(addr), connector, cmp.Or(o.Route, "node1"), tomcatHome))
		return exec.Command(java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Djava.util.logging.config.file=/dev/null",
			"-Djava.io.tmpdir="+base+"/temp", "-Dcatalina.home="+tomcatHome, "-Dcatalina.base="+base,
			"-cp", tomcatHome+"/bin/bootstrap.jar:"+tomcatHome+"/bin/tomcat-juli.jar", "org.apache.catalina.startup.Bootstrap", "start"), err
	})
}
