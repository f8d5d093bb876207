package apache

import "strings"

// modules are the names for which <IfModule> holds.
var modules = map[string]bool{
	"proxy_balancer": true, "proxy_hcheck": true, "lbmethod_byrequests": true, "lbmethod_bytraffic": true, "lbmethod_bybusyness": true, "lbmethod_heartbeat": true, "slotmem_shm": true, "watchdog": true,
	"core": true, "so": true, "reqtimeout": true, "proxy": true, "proxy_http": true, "authz_core": true, "authz_host": true, "log_config": true, "status": true,
	"headers": true, "setenvif": true, "env": true, "remoteip": true, "version": true, "proxy_wstunnel": true, "unixd": true, "mpm_event": true, "proxy_ajp": true, "cache": true, "cache_disk": true, "cache_socache": true, "socache_shmcb": true,
	"proxy_connect": true, "proxy_ftp": true, "auth_basic": true, "authn_core": true, "authn_file": true, "authz_user": true,
}

// version is that of the httpd whose configurations are read.
const version = "2.4.71"

// hasModule takes both of a module's names: mod_proxy.c and proxy_module.
func hasModule(name string) bool {
	if file, ok := strings.CutPrefix(name, "mod_"); ok {
		name, ok = strings.CutSuffix(file, ".c")
		return ok && modules[name]
	}
	name, ok := strings.CutSuffix(name, "_module")
	return ok && modules[name] || modules[strings.TrimSuffix(name, ".c")]
}
