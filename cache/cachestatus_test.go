package cache

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRFC9211_2_CacheStatus(t *testing.T) {
	for want, s := range map[string]cacheStatus{
		`modproxy; hit`:                         {name: "modproxy", hit: true},
		`modproxy; hit; ttl=376`:                {name: "modproxy", hit: true, ttl: 376*time.Second + 999, hasTTL: true},
		`modproxy; hit; ttl=-412`:               {name: "modproxy", hit: true, ttl: -411*time.Second - 1, hasTTL: true},
		`modproxy; fwd=uri-miss; stored`:        {name: "modproxy", fwd: fwdURIMiss, stored: true},
		`m; fwd=stale; fwd-status=304`:          {name: "m", fwd: fwdStale, fwdStatus: 304},
		`m; fwd=miss; collapsed`:                {name: "m", fwd: fwdMiss, collapsed: true},
		`m; fwd=bypass; detail=other`:           {name: "m", fwd: fwdBypass, detail: "other"},
		`m; hit; detail="a \"b\" \\ %C3%BC%0A"`: {name: "m", hit: true, detail: "a \"b\" \\ ü\n"},
		`m; fwd=method; key="http://e/?a"`:      {name: "m", fwd: fwdMethod, key: "http://e/?a"},
		`"my cache"; hit`:                       {name: "my cache", hit: true},
		`"1cache"; hit`:                         {name: "1cache", hit: true},
		`""; hit`:                               {hit: true},
		`a.b:80/c*; hit`:                        {name: "a.b:80/c*", hit: true},
		// What goes with fwd alone: section 2.
		`c; hit `[:6]: {name: "c", hit: true, stored: true, collapsed: true, fwdStatus: 200},
	} {
		require.Equal(t, want, string(s.append(nil)))
	}
}

// What is written is a structured field.
func TestRFC9211_2_IsAStructuredList(t *testing.T) {
	s := cacheStatus{name: "x y", fwd: fwdStale, fwdStatus: 304, ttl: -5 * time.Second, hasTTL: true, stored: true, collapsed: true, key: "k\"\\\x00", detail: "d e"}
	p := sfParser{string(s.append(nil))}
	_, ok := p.bareItem()
	require.True(t, ok)
	require.True(t, p.parameters())
	require.Empty(t, p.rest)
}
