package apache

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/files"
)

// Options are what the command line of httpd says. The zero value serves a
// configuration as it stands.
type Options struct {
	// Root is the folder of relative file names (-d); a ServerRoot in the
	// configuration counts more. Default: the folder of the file.
	Root string

	// Before and After are directives around those of the file (-C and -c).
	Before, After []string

	// Define are the names for <IfDefine> and ${NAME}, with their values (-D).
	Define map[string]string

	// Listen says where a port, or an address and a port, of the configuration
	// really listens: "80" may lead to "127.0.0.1:8080".
	Listen map[string]string

	// ListenFunc opens the listeners, for instance those that a service manager
	// has opened before. Default: net.Listen.
	ListenFunc func(network, address string) (net.Listener, error)

	// Resolve says where a host and port of the configuration really is:
	// "backend.local:80" may lead to "127.0.0.1:9001".
	Resolve map[string]string

	// NoPrivate lets no forward request reach a private address, though httpd
	// lets them.
	NoPrivate bool

	// Stdout and Stderr are what /dev/stdout and /dev/stderr mean as names of
	// logs; without an ErrorLog, errors go to Stderr. Default: those of the
	// process.
	Stdout, Stderr io.Writer

	// Logger is told what concerns the server as a whole: warnings of the
	// configuration, listeners that fail. Default: nothing is said.
	Logger *slog.Logger
}

// Flags adds the options to flags, by the names that httpd's documentation and
// this package's use.
func (o *Options) Flags(flags *flag.FlagSet) {
	flags.StringVar(&o.Root, "d", o.Root, "`folder` of relative file names until ServerRoot is read; without it, that of the configuration")
	flags.BoolVar(&o.NoPrivate, "no-private", o.NoPrivate, "let no forward request reach a private address; httpd lets them")
	flags.Func("listen", "really listen on an address for a port of the configuration, as in `80=127.0.0.1:8080`; may be repeated", pairs(&o.Listen, true))
	flags.Func("resolve", "really connect to an address for a host of the configuration, as in `name:80=127.0.0.1:9001`; may be repeated", pairs(&o.Resolve, true))
	flags.Func("D", "define a `name` for <IfDefine> and ${name}; may be repeated", pairs(&o.Define, false))
}

// pairs collects from=to; where both are not needed, from is enough.
func pairs(m *map[string]string, both bool) func(string) error {
	return func(s string) error {
		from, to, ok := strings.Cut(s, "=")
		if both && (!ok || from == "" || to == "") {
			return fmt.Errorf("want from=to")
		}
		if *m == nil {
			*m = make(map[string]string)
		}
		(*m)[from] = to
		return nil
	}
}

// options are those of the caller, and what the configuration says of the server
// as a whole.
type options struct {
	Options
	source     netip.Addr // ProxySourceAddress, of each host
	runtimeDir string     // DefaultRuntimeDir
	maxChecks  int        // health checks at a time, of each balancer
	parents    bool       // there is a ProxyRemote somewhere
	types      files.Types
	typed      bool   // by a TypesConfig
	sniPolicy  string // SSLVHostSNIPolicy
}

// withDefaults fills in what is not said.
func (o Options) withDefaults() Options {
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	if o.ListenFunc == nil {
		o.ListenFunc = net.Listen
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// stateDir is where what outlives a restart is kept.
func (o *options) stateDir() string {
	if o.runtimeDir != "" {
		return o.runtimeDir
	}
	return o.Root
}

// dialer returns a dialer that obeys -resolve and ProxySourceAddress.
func (o *options) dialer() func(ctx context.Context, network, addr string) (net.Conn, error) {
	d := &net.Dialer{}
	if o.source.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: o.source.AsSlice()}
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if to, ok := o.Resolve[addr]; ok {
			addr = to
		}
		return d.DialContext(ctx, network, addr)
	}
}

// realAddress says where a configured address really is.
func (o *options) realAddress(configured string) string {
	ip, port := splitAddress(configured)
	for _, key := range []string{configured, port} {
		if real, ok := o.Listen[key]; ok {
			return real
		}
	}
	return net.JoinHostPort(ip, port)
}

// moved reports whether -listen puts a configured address somewhere else.
func (o *options) moved(configured string) bool {
	_, port := splitAddress(configured)
	return o.Listen[configured] != "" || o.Listen[port] != ""
}
