package rfc9111

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRFC9211_2_CacheStatus(t *testing.T) {
	for want, s := range map[string]CacheStatus{
		`modproxy; hit`:                         {Name: "modproxy", Hit: true},
		`modproxy; hit; ttl=376`:                {Name: "modproxy", Hit: true, TTL: 376*time.Second + 999, HasTTL: true},
		`modproxy; hit; ttl=-412`:               {Name: "modproxy", Hit: true, TTL: -411*time.Second - 1, HasTTL: true},
		`modproxy; fwd=uri-miss; stored`:        {Name: "modproxy", Fwd: FwdURIMiss, Stored: true},
		`m; fwd=stale; fwd-status=304`:          {Name: "m", Fwd: FwdStale, FwdStatus: 304},
		`m; fwd=miss; collapsed`:                {Name: "m", Fwd: FwdMiss, Collapsed: true},
		`m; fwd=bypass; detail=other`:           {Name: "m", Fwd: FwdBypass, Detail: "other"},
		`m; hit; detail="a \"b\" \\ %C3%BC%0A"`: {Name: "m", Hit: true, Detail: "a \"b\" \\ ü\n"},
		`m; fwd=method; key="http://e/?a"`:      {Name: "m", Fwd: FwdMethod, Key: "http://e/?a"},
		`"my cache"; hit`:                       {Name: "my cache", Hit: true},
		`"1cache"; hit`:                         {Name: "1cache", Hit: true},
		`""; hit`:                               {Hit: true},
		`a.b:80/c*; hit`:                        {Name: "a.b:80/c*", Hit: true},
		// What goes with fwd alone: section 2.
		`c; hit `[:6]: {Name: "c", Hit: true, Stored: true, Collapsed: true, FwdStatus: 200},
	} {
		require.Equal(t, want, string(s.Append(nil)))
	}
}

// What is written is a structured field.
func TestRFC9211_2_IsAStructuredList(t *testing.T) {
	s := CacheStatus{Name: "x y", Fwd: FwdStale, FwdStatus: 304, TTL: -5 * time.Second, HasTTL: true, Stored: true, Collapsed: true, Key: "k\"\\\x00", Detail: "d e"}
	p := sfParser{string(s.Append(nil))}
	_, ok := p.bareItem()
	require.True(t, ok)
	require.True(t, p.parameters())
	require.Empty(t, p.rest)
}
