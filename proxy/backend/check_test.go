package backend

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestChecksAreLikeRequests: what serves a check has every field of the
// backend, but those that are about keeping, limiting and telling.
func TestChecksAreLikeRequests(t *testing.T) {
	apart := map[string]bool{
		"MaxConns": true, "MaxIdle": true, "MinIdle": true, "IdleTTL": true, "AcquireTimeout": true, "AddressTTL": true,
		"Retry": true, "Logger": true, "OnStateChange": true,
	}
	var b Backend
	v := reflect.ValueOf(&b).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if !f.CanSet() {
			continue
		}
		switch f.Kind() {
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int, reflect.Int64:
			f.SetInt(7)
		case reflect.Func:
			f.Set(reflect.MakeFunc(f.Type(), nil))
		case reflect.Uint8:
			f.SetUint(1)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case reflect.Struct:
			f.Set(reflect.ValueOf(netip.IPv6Loopback()))
		default:
			t.Fatalf("field of kind %v", f.Kind())
		}
	}
	checks := b.For(WithCheck(t.Context()))
	require.NotSame(t, &b, checks)
	require.Same(t, checks, b.For(WithCheck(t.Context())))
	require.Same(t, &b, b.For(t.Context()))
	w := reflect.ValueOf(checks).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.CanSet() {
			name := v.Type().Field(i).Name
			same := false
			if kind := f.Kind(); kind == reflect.Func || kind == reflect.Slice {
				same = f.Pointer() == w.Field(i).Pointer()
			} else {
				same = f.Interface() == w.Field(i).Interface()
			}
			require.Equal(t, !apart[name], same, name)
		}
	}
}
