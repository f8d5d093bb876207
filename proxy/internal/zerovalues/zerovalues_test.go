package zerovalues

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/proxyprotocol"
)

// patience is how long a call may take, at the very most.
const patience = 20 * time.Second

// targets are what requests ask for.
var targets = []string{
	"http://127.0.0.1:1/x", "http:///x", "https://127.0.0.1:1/x", "h2://127.0.0.1:1/", "h2c://127.0.0.1:1/", "ws://127.0.0.1:1/", "fcgi://127.0.0.1:1/a.php",
	"ajp://127.0.0.1:1/", "ftp://127.0.0.1:1/", "balancer://b/", "odd://127.0.0.1:1/", "/path", "CONNECT 127.0.0.1:443",
}

// handedOut are types whose zero value stands for nothing, as a nil receiver
// does, and who alone makes others.
var handedOut = map[reflect.Type]string{
	reflect.TypeFor[backend.Conn]():       "Backend.Get",
	reflect.TypeFor[proxyprotocol.Conn](): "Listener.Accept",
	reflect.TypeFor[exchange.Attempt]():   "a transport, of a connection",
}

// TestZeroValues calls every method of every zero value, by value and by
// pointer.
func TestZeroValues(t *testing.T) {
	t.Chdir(t.TempDir()) // nobody writes here
	for _, typ := range exportedTypes {
		if typ.Kind() == reflect.Interface || handedOut[typ] != "" {
			continue
		}
		t.Run(typ.String(), func(t *testing.T) {
			for i := range reflect.PointerTo(typ).NumMethod() {
				m := reflect.PointerTo(typ).Method(i)
				for _, out := range callAll(t, m.Name, func() reflect.Value { return reflect.New(typ).MethodByName(m.Name) }) {
					serve(t, m.Name, out)
				}
			}
		})
	}
}

// TestAlmostZeroValues has the same of values whose fields are set, to zero
// values of other types, functions that do nothing, and small numbers.
func TestAlmostZeroValues(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, typ := range exportedTypes {
		if typ.Kind() != reflect.Struct || handedOut[typ] != "" {
			continue
		}
		t.Run(typ.String(), func(t *testing.T) {
			for i := range reflect.PointerTo(typ).NumMethod() {
				m := reflect.PointerTo(typ).Method(i)
				for _, small := range []bool{false, true} {
					callAll(t, fmt.Sprintf("%s of filled (%v)", m.Name, small), func() reflect.Value {
						a := &arguments{ctx: t.Context(), t: t, small: small, url: targets[0]}
						v := reflect.New(typ)
						for i := range typ.NumField() {
							if f := v.Elem().Field(i); f.CanSet() && !typ.Field(i).Anonymous {
								f.Set(a.of(f.Type()))
							}
						}
						return v.MethodByName(m.Name)
					})
				}
			}
		})
	}
}

// TestFunctions calls every function, and every method of what it returns.
func TestFunctions(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, f := range exportedFunctions {
		if strings.HasPrefix(name, "balancertest.") || strings.HasPrefix(name, "cachetest.") || strings.HasPrefix(name, "exchangetest.") {
			continue // they fail a test, which is what they are for
		}
		t.Run(name, func(t *testing.T) {
			for _, out := range callAll(t, name, func() reflect.Value { return reflect.ValueOf(f) }) {
				methodsOf(t, name, out)
			}
		})
	}
}

// methodsOf calls the methods of what a function returned, or itself if it is
// middleware.
func methodsOf(t *testing.T, name string, v reflect.Value) {
	if !v.IsValid() || (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface || v.Kind() == reflect.Func) && v.IsNil() {
		return
	}
	if v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if v.Kind() == reflect.Func {
		for _, out := range callAll(t, name+"()", func() reflect.Value { return v }) {
			serve(t, name+"()", out)
		}
	}
	if pkg := v.Type().PkgPath() + reflect.Indirect(v).Type().PkgPath(); !strings.Contains(pkg, module) {
		return
	}
	for i := range v.NumMethod() {
		callAll(t, name+"()."+v.Type().Method(i).Name, func() reflect.Value { return v.Method(i) })
	}
}

// serve calls what was returned if it is a handler.
func serve(t *testing.T, name string, v reflect.Value) {
	if h, ok := v.Interface().(http.Handler); ok && h != nil && !reflect.ValueOf(h).IsZero() {
		callAll(t, name+"().ServeHTTP", func() reflect.Value { return reflect.ValueOf(h).MethodByName("ServeHTTP") })
	}
}

// callAll calls a function with zero and with small arguments, for each target
// if it takes a request, and returns what it returned.
func callAll(t *testing.T, name string, fn func() reflect.Value) (results []reflect.Value) {
	typ := fn().Type()
	aims := targets[:1]
	for i := range typ.NumIn() {
		if typ.In(i) == reflect.TypeFor[*http.Request]() {
			aims = targets
		}
	}
	for _, small := range []bool{false, true} {
		for _, aim := range aims {
			results = append(results, call(t, fmt.Sprintf("%s (small: %v, %s)", name, small, aim), fn(), small, aim)...)
		}
	}
	if typ.NumIn() == 1 && typ.In(0) == reflect.TypeFor[*http.Request]() && typ.NumOut() == 2 && strings.HasSuffix(name, "RoundTrip") {
		for what, r := range map[string]*http.Request{"no URL": {Header: http.Header{}}, "nothing": {}} {
			out := guarded(t, name+" of a request with "+what, func() []reflect.Value { return fn().Call([]reflect.Value{reflect.ValueOf(r)}) })
			require.True(t, out == nil || !out[1].IsNil(), name)
		}
	}
	return results
}

// call calls a function once.
func call(t *testing.T, name string, fn reflect.Value, small bool, aim string) []reflect.Value {
	ctx, cancel := context.WithTimeout(t.Context(), patience/4)
	defer cancel()
	a := &arguments{ctx: ctx, t: t, small: small, url: aim}
	if aim == "/path" && fn.Type().NumOut() == 2 { // a client's
		a.url = "http://127.0.0.1:1"
	}
	typ := fn.Type()
	in := make([]reflect.Value, 0, typ.NumIn())
	for i := range typ.NumIn() {
		if typ.IsVariadic() && i == typ.NumIn()-1 && !small {
			break
		}
		v := a.of(typ.In(i))
		if typ.IsVariadic() && i == typ.NumIn()-1 {
			for j := range v.Len() {
				in = append(in, v.Index(j))
			}
			break
		}
		in = append(in, v)
	}
	out := guarded(t, name, func() []reflect.Value { return fn.Call(in) })
	if strings.Contains(name, "ServeHTTP") && a.w != nil && out != nil {
		require.GreaterOrEqual(t, a.w.Code, 300, name)
	}
	if strings.Contains(name, "RoundTrip") && len(out) == 2 {
		err, _ := out[1].Interface().(error)
		var e *exchange.Error
		if err == nil {
			require.NotNil(t, out[0].Interface().(*http.Response).Body, name)
		} else if !errors.Is(err, errStub) {
			require.True(t, errors.As(err, &e) || strings.Contains(fmt.Sprintf("%T", err), "balancer"), "%s: %T %v", name, err, err)
		}
		if a.body != nil {
			require.Eventually(t, a.body.closed.Load, patience, time.Millisecond, "%s: %v: body is open", name, err)
		}
	}
	return out
}

// guarded calls f, which must not panic but to abort a handler, and must end.
func guarded(t *testing.T, name string, f func() []reflect.Value) []reflect.Value {
	done := make(chan []reflect.Value, 1)
	go func() {
		var out []reflect.Value
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				t.Errorf("%s: panic: %v\n%s", name, p, where())
			}
			done <- out
		}()
		out = f()
	}()
	select {
	case out := <-done:
		return out
	case <-time.After(patience):
		t.Fatalf("%s does not end", name)
		return nil
	}
}

// where is the part of the stack that is ours.
func where() string {
	var lines []string
	for _, l := range strings.Split(string(debug.Stack()), "\n") {
		if strings.Contains(l, ".go:") && !strings.Contains(l, "/reflect/") && !strings.Contains(l, "zerovalues") && !strings.Contains(l, "/runtime/") {
			lines = append(lines, strings.TrimSpace(l))
		}
	}
	return strings.Join(lines[:min(len(lines), 4)], "\n")
}
