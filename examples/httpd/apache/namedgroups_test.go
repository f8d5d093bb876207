package apache

import "testing"

// namedGroupRows try the variables that named groups of sections set.
var namedGroupRows = []row{
	{name: "two groups", host: "groups.test", line: "/wiki/home"},
	{name: "an empty group", host: "groups.test", line: "/wiki/"},
	{name: "three groups", host: "groups.test", line: "/wiki/home/more/x"},
	{name: "decoded", host: "groups.test", line: "/w%C3%BC/a%20b"},
	{name: "tilde", host: "groups.test", line: "/tilde"},
	{name: "proxy", host: "groups.test", line: "/pq"},
	{name: "none", host: "groups.test", line: "/"},
}

var namedGroups = comparison{file: "namedgroups.conf", modules: "env headers proxy proxy_http", rows: namedGroupRows}

func TestNamedGroupsDifferential(t *testing.T) { namedGroups.beside(t) }

func TestNamedGroupsOutcomes(t *testing.T) { namedGroups.alone(t, "namedgroups.golden") }
