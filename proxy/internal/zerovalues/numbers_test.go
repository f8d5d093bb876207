package zerovalues

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// Columns of the table: what becomes of an exchange when the number is negative
// (-1 and the least), one, and the greatest; of a float, also infinite and not
// a number. Zero always works.
//
//   - it works
//   - it fails as its documentation says, with a typed error or an error's status
//     ?  one of the two, for it is a matter of time
//     x  the constructor refuses it
//
// numbers has each number that may be set, by what it may be: a new one without
// a line here fails TestNumbersAreListed.
var numbers = map[string]string{
	"access.BasicAuth.CacheTTL":          "+++",
	"access.BasicAuth.MaxWaiting":        "+++",
	"access.Destinations.ConnectTimeout": "+?+",

	"ajp.Server.IdleTimeout":        "+?+",
	"ajp.Server.PacketSize":         "+++",
	"ajp.Server.ReadTimeout":        "+?+",
	"ajp.Server.WriteTimeout":       "+?+",
	"ajp.Transport.MaxInterim":      "+++",
	"ajp.Transport.PacketSize":      "+++",
	"ajp.Transport.Ping":            "+?+",
	"backend.IdleLimit.Max":         "+++",
	"fcgi.Transport.MaxHeadBytes":   "+-+",
	"fcgi.Transport.MaxLineBytes":   "+-+",
	"fcgi.Transport.MaxStderrBytes": "+++",
	"scgi.Transport.MaxHeadBytes":   "+-+",
	"scgi.Transport.MaxLineBytes":   "+-+",
	"uwsgi.Transport.MaxHeadBytes":  "+-+",
	"uwsgi.Transport.MaxLineBytes":  "+-+",

	"backend.Backend.AcquireTimeout":    "+++",
	"backend.Backend.AddressTTL":        "+++",
	"backend.Backend.ConnectTimeout":    "+?+",
	"backend.Backend.HeaderTimeout":     "+?+",
	"backend.Backend.IdleTTL":           "+++",
	"backend.Backend.KeepAlive":         "+++",
	"backend.Backend.MaxConns":          "+++",
	"backend.Backend.MaxIdle":           "+++",
	"backend.Backend.MinIdle":           "+++",
	"backend.Backend.ReadBufferSize":    "+++",
	"backend.Backend.ReadTimeout":       "+?+",
	"backend.Backend.ReceiveBufferSize": "+++",
	"backend.Backend.RequestTimeout":    "+?+",
	"backend.Backend.Retry":             "+++",
	"backend.Backend.Timeout":           "+?+",
	"backend.Backend.WriteBufferSize":   "+++",
	"backend.Backend.WriteTimeout":      "+?+",

	"balancer.Check.Fails":              "x++",
	"balancer.Check.Interval":           "x++",
	"balancer.Check.MaxStatus":          "xx+",
	"balancer.Check.MinStatus":          "x+x",
	"balancer.Check.Passes":             "x++",
	"balancer.Check.Timeout":            "x?+",
	"balancer.Config.DiscoveryInterval": "+++",
	"balancer.Config.FailOnStatus":      "xxx",
	"balancer.Config.Growth":            "+++",
	"balancer.Config.MaxAttempts":       "+++",
	"balancer.Config.MaxChecks":         "+++",
	"balancer.Config.RetryBackoff":      "++?",
	"balancer.Config.RetryBudget":       "x?xxx",
	"balancer.Config.Timeout":           "+++",
	"balancer.DNS.Port":                 "x+x",
	"balancer.DNS.Valid":                "+++",
	"balancer.SRV.Valid":                "+++",
	"balancer.Ejection.Failures":        "x++",
	"balancer.Ejection.MaxShare":        "x+xxx",
	"balancer.Ejection.Time":            "x++",
	"balancer.Hash.MaxLoad":             "+++++",
	"balancer.LeastTime.ProbeEvery":     "+++",
	"balancer.MemberConfig.LBSet":       "x+x",
	"balancer.MemberConfig.LoadFactor":  "x+xxx",
	"balancer.MemberConfig.MaxInFlight": "x++",
	"balancer.MemberConfig.MaxWaiting":  "+++",
	"balancer.MemberConfig.Retry":       "+++",
	"balancer.MemberConfig.SlowStart":   "+++",
	"balancer.MemberConfig.WaitTimeout": "+++",
	"balancer.RouteCookie.MaxAge":       "x++",

	"breaker.Transport.FailureShare": "+++++",
	"breaker.Transport.MaxOpenTime":  "+++",
	"breaker.Transport.MinRequests":  "+++",
	"breaker.Transport.OpenTime":     "+++",
	"breaker.Transport.Probes":       "+++",
	"breaker.Transport.Slow":         "++?",
	"breaker.Transport.SlowShare":    "+++++",
	"breaker.Transport.Window":       "+++",

	"buffer.Transport.Max":    "+++",
	"buffer.Transport.Memory": "+++",

	"cache.Cache.DefaultExpire":        "+++",
	"cache.Cache.HeuristicMax":         "+++",
	"cache.Cache.LastModifiedFactor":   "+++++",
	"cache.Cache.Linger":               "+++",
	"cache.Cache.LockMaxAge":           "+++",
	"cache.Cache.MaxExpire":            "+++",
	"cache.Cache.MaxFileSize":          "+++",
	"cache.Cache.MaxVariants":          "+++",
	"cache.Cache.MinExpire":            "+++",
	"cache.Cache.MinFileSize":          "+++",
	"cache.Cache.ReadSize":             "+++",
	"cache.Cache.ReadTime":             "+++",
	"cache.Cache.StaleIfError":         "+++",
	"cache.Cache.StatusTTL":            "+++",
	"cache.Cache.StaleWhileRevalidate": "+++",
	"disk.Store.DirLength":             "+++",
	"disk.Store.DirLevels":             "+++",
	"disk.Store.MaxBytes":              "+++",
	"disk.Store.MaxEntries":            "+++",
	"disk.Store.MetadataBytes":         "+++",
	"disk.Store.OpenFiles":             "+++",
	"disk.Store.Rescan":                "+++",
	"disk.Store.Retry":                 "+++",
	"memory.Store.MaxBytes":            "+++",
	"memory.Store.MaxEntry":            "+++",
	"tiered.Store.MaxFront":            "+++",

	"connect.Dialer.Timeout":              "+?+",
	"connect.Handler.DialTimeout":         "+?+",
	"connect.Handler.IdleTimeout":         "+?+",
	"connect.Handler.MaxLife":             "+?+",
	"connect.Handler.MaxTunnels":          "+++",
	"connect.Handler.MaxTunnelsPerClient": "+++",
	"tunnel.Tunnel.CloseDelay":            "+++",
	"tunnel.Tunnel.HalfCloseTimeout":      "+?+",
	"tunnel.Tunnel.IdleTimeout":           "+?+",
	"tunnel.Tunnel.MaxLife":               "+?+",
	"wstunnel.Handler.CloseDelay":         "+++",
	"wstunnel.Handler.IdleTimeout":        "+?+",
	"wstunnel.Handler.MaxLife":            "+?+",
	"wstunnel.Messages.MaxSize":           "+-+",
	"wstunnel.Messages.PingInterval":      "+?+",
	"wstunnel.Messages.PongTimeout":       "+?+",

	"exchange.Spool.Max":           "+-+",
	"exchange.Spool.Memory":        "+++",
	"graceful.Service.Grace":       "+++",
	"halfclose.Listener.Timeout":   "+++",
	"mirror.Transport.MaxBody":     "+++",
	"mirror.Transport.MaxInFlight": "+++",
	"mirror.Transport.Share":       "+++++",
	"mirror.Transport.Timeout":     "+++",

	"proxy.ClientLimits.BodyMaxTimeout":    "+++",
	"proxy.ClientLimits.BodyMinRate":       "+++",
	"proxy.ClientLimits.BodyTimeout":       "+?+",
	"proxy.ClientLimits.Timeout":           "+?+",
	"proxy.ErrorOverride.Codes":            "+++",
	"proxy.Forward.MaxForwards":            "+++",
	"proxy.Forward.TunnelTimeout":          "+++",
	"proxy.Handler.FlushInterval":          "+++",
	"proxy.Handler.MaxForwards":            "+++",
	"proxy.Handler.ReplayLimit":            "+++",
	"proxy.Handler.TunnelTimeout":          "+?+",
	"proxy.Transport.ExpectTimeout":        "+++",
	"proxy.Transport.MaxHeadBytes":         "+-+",
	"proxy.Transport.MaxInterim":           "?++",
	"proxy.Transport.MaxLineBytes":         "+-+",
	"proxy.Transport.Ping":                 "+?+",
	"proxyprotocol.Listener.HeaderTimeout": "+?+",
}

// told are types whose numbers the library tells, or that are about one message
// rather than settings.
var told = strings.Fields(`access.PortRange ajp.Attributes backend.Condition backend.Counts backend.HealthStats backend.Limits
	backend.Stats backend.UnusableError balancer.FailedAttempt balancer.MemberStats balancer.Outcome balancer.Snapshot
	balancer.Stats balancer.StatusError balancertest.Claims breaker.Stats cache.Result cache.Stats cachetest.Claims
	connect.RefusedError exchange.Error exchange.FailedAttempt exchange.Failure exchange.Record exchangetest.Protocol
	ftpproxy.ReplyError mirror.Stats proxyprotocol.Header proxyprotocol.TLV store.Meta store.Part store.Stats
	tunnel.Stats wstunnel.CloseError`)

// amount reports whether a field is a number, or holds such, rather than one of a
// few constants, which are types of their own, or bytes.
func amount(t reflect.Type) bool {
	k := t.Kind()
	if k == reflect.Map || k == reflect.Slice || k == reflect.Pointer {
		return t.Elem().Kind() != reflect.Uint8 && amount(t.Elem())
	}
	return k >= reflect.Int && k <= reflect.Float64 && k != reflect.Uintptr && (t.PkgPath() == "" || t == reflect.TypeFor[time.Duration]())
}

// TestNumbersAreListed has every number that a struct exports in the table, and
// no other.
func TestNumbersAreListed(t *testing.T) {
	found := map[string]bool{}
	for _, typ := range exportedTypes {
		for i := 0; typ.Kind() == reflect.Struct && i < typ.NumField(); i++ {
			if f := typ.Field(i); f.IsExported() && amount(f.Type) && !slices.Contains(told, typ.String()) {
				found[typ.String()+"."+f.Name] = true
			}
		}
	}
	for name := range found {
		require.Contains(t, numbers, name, "a number whose meaning no line tells")
	}
	for name := range numbers {
		require.True(t, len(exportedTypes) == 0 || found[name], "%s is no number of the library", name)
	}
}

// errRefused is what a part is refused with when it is made.
var errRefused = errors.New("refused")

// TestNumbers gives every number its extremes, one at a time, and has an exchange
// with the part that has it.
func TestNumbers(t *testing.T) {
	if os.Getenv(inside) != "" {
		return // the run around this one has it
	}
	defer goleak.VerifyNone(t)
	k := newKit(t)
	defer k.close()
	types := map[string]part{}
	for _, p := range slices.Concat(parts, balancerParts, singleParts) {
		types[p.typ.String()] = p
	}
	for name, row := range numbers {
		at := strings.LastIndexByte(name, '.')
		p, ok := types[name[:at]]
		require.True(t, ok, "nobody tries %s", name)
		f, ok := p.typ.FieldByName(name[at+1:])
		require.True(t, ok, name)
		for _, c := range extremes(f.Type, row) {
			for where, run := range p.runs {
				t.Run(fmt.Sprintf("%s=%v/%s", name, c.value, where), func(t *testing.T) {
					v := reflect.New(p.typ)
					set(v.Elem().FieldByIndex(f.Index), c.value)
					k.t = t
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					var err error
					guarded(t, name, func() []reflect.Value { err = run(k, v.Interface()); return nil })
					runtime.ReadMemStats(&after)
					require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(256<<20), "memory")
					switch c.want {
					case '+':
						require.NoError(t, err)
					case '-':
						require.Error(t, err)
						require.NotErrorIs(t, err, errRefused)
					case 'x':
						require.ErrorIs(t, err, errRefused)
					default:
						require.NotErrorIs(t, err, errRefused)
					}
				})
			}
		}
	}
}

// extreme is a value and what is expected of it.
type extreme struct {
	value reflect.Value
	want  byte
}

// set gives a field a value, or a map and a list one of it.
func set(f, value reflect.Value) {
	switch f.Kind() {
	case reflect.Map:
		f.Set(reflect.MakeMap(f.Type()))
		f.SetMapIndex(reflect.ValueOf(http.StatusOK), value)
	case reflect.Slice:
		f.Set(reflect.Append(f, value))
	default:
		f.Set(value)
	}
}

func extremes(t reflect.Type, row string) (list []extreme) {
	if holds := t.Kind() == reflect.Map || t.Kind() == reflect.Slice; holds {
		defer func() { list = list[1:] }() // a list with a zero is not zero
		t = t.Elem()
	}
	add := func(want byte, v any) {
		list = append(list, extreme{reflect.ValueOf(v).Convert(t), want})
	}
	if t.Kind() == reflect.Float64 {
		for i, v := range []float64{-1, 1, math.MaxFloat64, math.Inf(1), math.NaN()} {
			add(row[i], v)
		}
		add(row[0], math.Inf(-1))
		add('+', 0.0)
		return list
	}
	add('+', 0)
	add(row[0], -1)
	add(row[0], math.MinInt64)
	add(row[1], 1)
	add(row[2], math.MaxInt64)
	return list
}
