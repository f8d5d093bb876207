package apache

import "testing"

// frontScript tells all that a front controller goes by.
const frontScript = `<?php ksort($_SERVER); foreach ($_SERVER as $k => $v)
if (preg_match('/^(REDIRECT_|PATH_|SCRIPT_|REQUEST_[UM]|QUERY|PHP_|HTTP_(AUTH|X_|PROXY)|BASE|CONTEXT_|CONTENT_|APP_|front)/', $k)) echo "$k=", $v, "\n"; echo file_get_contents('php://input');`

// frameworkTree are the folders of applications whose .htaccess leads to a front
// controller, each in the manner of a family of them.
var frameworkTree = map[string]string{
	// a blog: everything that is not there goes to index.php
	"blog/.htaccess": `# rules of the blog
<IfModule mod_rewrite.c>
RewriteEngine On
RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]
RewriteBase /
RewriteRule ^index\.php$ - [L]
RewriteCond %{REQUEST_FILENAME} !-f
RewriteCond %{REQUEST_FILENAME} !-d
RewriteRule . /index.php [L]
</IfModule>
# guard of the settings
<Files settings.php>
	<IfModule !mod_authz_core.c>
		Order deny,allow
		Deny from all
	</IfModule>
	<IfModule mod_authz_core.c>
		Require all denied
	</IfModule>
</Files>
<IfModule mod_php.c>
	php_value upload_max_filesize 64M
	php_flag display_errors off
</IfModule>
Options -Indexes
`,
	"blog/index.php": frontScript, "blog/settings.php": "secret", "blog/login.php": frontScript, "blog/admin/index.php": frontScript, "blog/admin/css/a.css": "css", "blog/files/2024/pic.txt": "picture",
	"blog/files/.htaccess": "<FilesMatch \"\\.(?i:php|phtml|phar)$\">\n\tRequire all denied\n</FilesMatch>\n", "blog/files/evil.php": "<?php echo 'evil';", "blog/files/evil.PHP": "evil",
	// a sub-folder of a host
	"sub/blog/.htaccess": `<IfModule mod_rewrite.c>
RewriteEngine On
RewriteBase /sub/blog/
RewriteRule ^index\.php$ - [L]
RewriteRule ^([_0-9a-zA-Z-]+/)?admin$ $1admin/ [R=301,L]
RewriteCond %{REQUEST_FILENAME} -f [OR]
RewriteCond %{REQUEST_FILENAME} -d
RewriteRule ^ - [L]
RewriteRule ^([_0-9a-zA-Z-]+/)?(wp-(content|admin|includes).*) $2 [L]
RewriteRule ^([_0-9a-zA-Z-]+/)?(.*\.php)$ $2 [L]
RewriteRule . index.php [L]
</IfModule>
`,
	"sub/blog/index.php": frontScript, "sub/blog/wp-content/a.css": "css", "sub/blog/x.php": frontScript,
	// an MVC framework: no slash at the end, headers kept
	"mvc/public/.htaccess": `<IfModule mod_rewrite.c>
    <IfModule mod_negotiation.c>
        Options -MultiViews -Indexes
    </IfModule>

    RewriteEngine On

    # what the application wants to see
    RewriteCond %{HTTP:Authorization} .
    RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]
    RewriteCond %{HTTP:x-xsrf-token} .
    RewriteRule .* - [E=HTTP_X_XSRF_TOKEN:%{HTTP:X-XSRF-Token}]

    # one address for each page
    RewriteCond %{REQUEST_FILENAME} !-d
    RewriteCond %{REQUEST_URI} (.+)/$
    RewriteRule ^ %1 [L,R=301]

    # the rest
    RewriteCond %{REQUEST_FILENAME} !-d
    RewriteCond %{REQUEST_FILENAME} !-f
    RewriteRule ^ index.php [L]
</IfModule>
`,
	"mvc/public/index.php": frontScript, "mvc/public/css/a.css": "css", "mvc/.env": "secret",
	// another: the base is found by the rules, and index.php hidden
	"micro/public/.htaccess": `DirectoryIndex index.php
<IfModule mod_negotiation.c>
    Options -MultiViews
</IfModule>
<IfModule mod_rewrite.c>
    RewriteEngine On
    RewriteCond %{REQUEST_URI}::$0 ^(/.+)/(.*)::\2$
    RewriteRule .* - [E=BASE:%1]
    RewriteCond %{HTTP:Authorization} .+
    RewriteRule ^ - [E=HTTP_AUTHORIZATION:%0]
    RewriteCond %{ENV:REDIRECT_STATUS} =""
    RewriteRule ^index\.php(?:/(.*)|$) %{ENV:BASE}/$1 [R=301,L]
    RewriteCond %{REQUEST_FILENAME} !-f
    RewriteRule ^ %{ENV:BASE}/index.php [L]
</IfModule>
<IfModule !mod_rewrite.c>
    <IfModule mod_alias.c>
        RedirectMatch 307 ^/$ /index.php/
    </IfModule>
</IfModule>
`,
	"micro/public/index.php": frontScript, "micro/public/a.txt": "text", "micro/public/dir/b.txt": "text",
	// a portal: protected kinds of files, types, expiry, gzip beside
	"portal/.htaccess": `<FilesMatch "\.(engine|inc|install|module|profile|po|sh|.*sql|theme|twig|xtmpl|yml)(~|\.sw[op]|\.bak|\.orig|\.save)?$|^(\.(?!well-known).*|Entries.*|Repository|composer\.(json|lock)|web\.config)$|^#.*#$|\.php(~|\.sw[op]|\.bak|\.orig|\.save)$">
  <IfModule mod_authz_core.c>
    Require all denied
  </IfModule>
  <IfModule !mod_authz_core.c>
    Order allow,deny
  </IfModule>
</FilesMatch>
Options -Indexes
DirectoryIndex index.php index.html index.htm
AddType image/svg+xml svg svgz
AddEncoding gzip svgz
ErrorDocument 404 /index.php
<IfModule mod_php.c>
  php_value assert.active 0
</IfModule>
<IfModule mod_expires.c>
  ExpiresActive On
  ExpiresDefault A1209600
  <FilesMatch \.php$>
    ExpiresActive Off
  </FilesMatch>
</IfModule>
<IfModule mod_fcgid.c>
  <IfModule mod_headers.c>
    RequestHeader set X-Fcgid yes
  </IfModule>
</IfModule>
<IfModule mod_rewrite.c>
  RewriteEngine on
  RewriteRule ^ - [E=protossl]
  RewriteCond %{HTTPS} on
  RewriteRule ^ - [E=protossl:s]
  RewriteRule "/\.|^\.(?!well-known/)" - [F]
  RewriteCond %{HTTP_HOST} ^www\.(.+)$ [NC]
  RewriteRule ^ http%{ENV:protossl}://%1%{REQUEST_URI} [L,R=301]
  RewriteCond %{REQUEST_URI} ^(.*)?/(install\.php) [OR]
  RewriteCond %{REQUEST_URI} ^(.*)?/(rebuild\.php)
  RewriteCond %{REQUEST_URI} !core
  RewriteRule ^ %1/core/%2 [L,QSA,R=301]
  RewriteCond %{REQUEST_FILENAME} !-f
  RewriteCond %{REQUEST_FILENAME} !-d
  RewriteCond %{REQUEST_URI} !=/favicon.ico
  RewriteRule ^ index.php [L]
  RewriteCond %{REQUEST_URI} !/core/[^/]*\.php$
  RewriteCond %{REQUEST_URI} !/core/modules/system/tests/https?\.php
  RewriteRule "^(.+/.*|autoload)\.php($|/)" - [F]
  <IfModule mod_headers.c>
    RewriteCond %{HTTP:Accept-encoding} gzip
    RewriteCond %{REQUEST_FILENAME}\.gz -s
    RewriteRule ^(.*css_[a-zA-Z0-9-_]+)\.css$ $1\.css\.gz [QSA]
    RewriteRule \.css\.gz$ - [T=text/css,E=no-gzip:1,E=no-brotli:1]
    <FilesMatch "(\.js\.gz|\.css\.gz)$">
      Header set Content-Encoding gzip
      Header append Vary Accept-Encoding
    </FilesMatch>
  </IfModule>
</IfModule>
<IfModule mod_headers.c>
  Header always set X-Content-Type-Options nosniff
  RequestHeader unset Proxy
</IfModule>
`,
	"portal/index.php": frontScript, "portal/core/install.php": frontScript, "portal/core/lib/x.php": "secret", "portal/web.config": "secret", "portal/a.module": "secret", "portal/index.php.bak": "secret", "portal/.git/config": "secret",
	"portal/.well-known/a.txt": "known", "portal/pic.svg": "<svg/>", "portal/css/css_1.css": "plain", "portal/css/css_1.css.gz": "packed", "portal/files/.htaccess": "Options -Indexes -ExecCGI -Includes -MultiViews\nSetHandler Keep_Out\n<Files *>\n  SetHandler Keep_Out_Too\n</Files>\n<IfModule mod_php.c>\n  php_flag engine off\n</IfModule>\n", "portal/files/a.txt": "file", "portal/files/evil.php": "evil",
	// a CMS: attacks in the query are 403
	"cms/.htaccess": `<IfModule mod_autoindex.c>
  IndexIgnore *
</IfModule>
<IfModule mod_headers.c>
Header always set X-Content-Type-Options "nosniff"
<FilesMatch "\.svg$">
  Header always set Content-Security-Policy "script-src 'none'"
</FilesMatch>
</IfModule>
## the server follows links already
Options +FollowSymlinks
Options -Indexes
RewriteEngine On
RewriteCond %{QUERY_STRING} base64_encode[^(]*\([^)]*\) [OR]
RewriteCond %{QUERY_STRING} (<|%3C)([^s]*s)+cript.*(>|%3E) [NC,OR]
RewriteCond %{QUERY_STRING} GLOBALS(=|\[|\%[0-9A-Z]{0,2}) [OR]
RewriteCond %{QUERY_STRING} _REQUEST(=|\[|\%[0-9A-Z]{0,2})
RewriteRule .* index.php [F]
RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]
RewriteCond %{REQUEST_URI} ^/api/
RewriteCond %{REQUEST_URI} !^/api/index\.php
RewriteCond %{REQUEST_FILENAME} !-f
RewriteCond %{REQUEST_FILENAME} !-d
RewriteRule .* api/index.php [L]
RewriteCond %{REQUEST_URI} !^/index\.php
RewriteCond %{REQUEST_FILENAME} !-f
RewriteCond %{REQUEST_FILENAME} !-d
RewriteRule .* index.php [L]
<FilesMatch "(^(changelog|readme|license)(\.(txt|md))?$|\.(lock|dist|ini|log)$)">
	Order Allow,Deny
	Deny from all
</FilesMatch>
`,
	"cms/index.php": frontScript, "cms/api/index.php": frontScript, "cms/readme.txt": "secret", "cms/a.ini": "secret", "cms/pic.svg": "<svg/>", "cms/img/a.txt": "text",
	// a light framework: the path behind the front controller
	"light/.htaccess": `DirectoryIndex index.php
AddDefaultCharset utf-8
SetEnv APP_ENV production
RequestHeader append X-Twice %{APP_ENV}e
SetEnvIfNoCase User-Agent "bad(bot|crawler)" front_bad
SetEnvIf X-Forwarded-Proto "^https$" APP_TLS=on
ErrorDocument 403 //
ErrorDocument 404 "not here"
ServerSignature Off
Options All -Indexes
RewriteEngine on
RewriteCond $1 !^(index\.php|static|robots\.txt|denied)
RewriteCond %{REQUEST_FILENAME} !-f
RewriteCond %{REQUEST_FILENAME} !-d
RewriteRule ^([\s\S]*)$ index.php/$1 [L,NC,E=HTTP_AUTHORIZATION:%{HTTP:Authorization},QSA]
<IfModule !mod_rewrite.c>
	ErrorDocument 404 index.php
</IfModule>
<Limit GET POST PUT>
	Order Allow,Deny
	Allow from all
	Deny from env=front_bad
</Limit>
`,
	"light/index.php": frontScript, "light/static/a.html": "html", "light/robots.txt": "robots", "light/denied/.htaccess": "Require all denied\n", "light/denied/a.txt": "secret",
	// a cloud drive: everything at once
	"drive/.htaccess": `<IfModule mod_headers.c>
  <IfModule mod_setenvif.c>
    <IfModule mod_fcgid.c>
       SetEnvIfNoCase ^Authorization$ "(.+)" XAUTHORIZATION=$1
       RequestHeader set XAuthorization %{XAUTHORIZATION}e env=XAUTHORIZATION
    </IfModule>
    <IfModule mod_proxy_fcgi.c>
       SetEnvIfNoCase Authorization "(.+)" HTTP_AUTHORIZATION=$1
    </IfModule>
  </IfModule>
  <IfModule mod_env.c>
    Header onsuccess unset Referrer-Policy
    Header always set Referrer-Policy "no-referrer"
    Header onsuccess unset X-Frame-Options
    Header always set X-Frame-Options "SAMEORIGIN"
    SetEnv front_modHeaders true
  </IfModule>
  <FilesMatch "\.(css|js|mjs|svg|gif|png|jpg|webp|ico|wasm|tflite)$">
    <If "%{QUERY_STRING} =~ /(^|&)v=/">
      Header set Cache-Control "max-age=15778463, immutable"
    </If>
    <Else>
      Header set Cache-Control "max-age=15778463"
    </Else>
  </FilesMatch>
  <FilesMatch "\.woff2?$">
    Header set Cache-Control "max-age=604800"
  </FilesMatch>
</IfModule>
<IfModule mod_php.c>
  php_value mbstring.func_overload 0
  php_value default_charset 'UTF-8'
  <IfModule mod_env.c>
    SetEnv htaccessWorking true
  </IfModule>
</IfModule>
<IfModule mod_mime.c>
  AddType image/svg+xml svg svgz
  AddType application/wasm wasm
  AddEncoding gzip svgz
  AddType text/javascript js mjs
</IfModule>
<IfModule mod_dir.c>
  DirectoryIndex index.php index.html
</IfModule>
<IfModule pagespeed_module>
  ModPagespeed Off
</IfModule>
<IfModule mod_rewrite.c>
  RewriteEngine on
  RewriteCond %{HTTP_USER_AGENT} DavClnt
  RewriteRule ^$ /remote.php/webdav/ [L,R=302]
  RewriteRule .* - [env=HTTP_AUTHORIZATION:%{HTTP:Authorization}]
  RewriteRule ^\.well-known/carddav /remote.php/dav/ [R=301,L]
  RewriteRule ^remote/(.*) remote.php [QSA,L]
  RewriteRule ^(?:build|tests|config|lib|3rdparty|templates)/.* - [R=404,L]
  RewriteRule ^\.well-known/(?!acme-challenge|pki-validation) /index.php [QSA,L]
  RewriteRule ^(?:\.(?!well-known)|autotest|occ|issue|indie|db_|console).* - [R=404,L]
</IfModule>
AddDefaultCharset utf-8
Options -Indexes
ErrorDocument 403 /index.php/error/403
ErrorDocument 404 /index.php/error/404
<IfModule mod_rewrite.c>
  Options -MultiViews
  RewriteRule ^core/js/x.js$ index.php [PT,E=PATH_INFO:$1]
  RewriteCond %{REQUEST_FILENAME} !\.(css|js|mjs|svg|gif|png|html|ttf|woff2?|ico|jpg|webp)$
  RewriteCond %{REQUEST_FILENAME} !/remote\.php
  RewriteCond %{REQUEST_FILENAME} !/robots\.txt
  RewriteCond %{REQUEST_URI} !^/\.well-known/(acme-challenge|pki-validation)/.*
  RewriteRule . index.php [PT,E=PATH_INFO:$1]
  RewriteBase /
  <IfModule mod_env.c>
    SetEnv front_active true
    <IfModule mod_dir.c>
      DirectorySlash off
    </IfModule>
  </IfModule>
</IfModule>
`,
	"drive/index.php": frontScript, "drive/remote.php": frontScript, "drive/config/c.php": "secret", "drive/data/.htaccess": "Require all denied\nDeny from all\nSatisfy All\nIndexIgnore *\n", "drive/data/x.jpg": "secret", "drive/core/a.css": "css", "drive/core/a.woff2": "font", "drive/core/m.mjs": "js", "drive/robots.txt": "robots", "drive/apps/index.html": "html",
}

// TestFrameworksBesideHTTPD: applications with a .htaccess and php-fpm are told the
// same by both servers.
func TestFrameworksBesideHTTPD(t *testing.T) {
	besidePHP(t, "frameworks.conf", "access_compat authz_host env setenvif headers mime dir alias autoindex negotiation expires rewrite macro proxy proxy_fcgi", frameworkTree, map[string][]string{
		"blog.test":       {"GET /", "GET /2024/05/a-post/", "GET /2024/?p=1&q=a%20b", "GET /index.php", "GET /index.php/2024/x", "GET /settings.php", "GET /login.php", "GET /admin", "GET /admin/", "GET /admin/css/a.css", "GET /files/2024/pic.txt", "GET /files/", "GET /files/evil.php", "GET /files/evil.PHP", "GET /.htaccess", "POST /comment", "HEAD /x", "GET /caf%C3%A9/", "GET /a%2Fb", "GET /x%3Fy", "GET /missing.php", "GET /login.php/x/y", "GET /files/none.txt"},
		"all.test":        {"GET /sub/blog/", "GET /sub/blog/post/1?x=y", "GET /sub/blog/en/wp-content/a.css", "GET /sub/blog/en/x.php", "GET /sub/blog/admin", "GET /sub/blog/en/admin?x", "GET /sub/blog/x.php/pi", "GET /sub/blog", "GET /mvc/public/users/1", "GET /micro/public/users/1?a=b", "GET /micro/public/", "GET /micro/public/index.php/x", "GET /light/a/b"},
		"mvc.test":        {"GET /", "GET /users/7?tab=a", "GET /users/7/", "GET /users/7/?a=b", "POST /users", "GET /css/a.css", "GET /css/", "GET /css", "GET /../.env", "GET /x|X-XSRF-Token: abc", "GET /index.php/users/1", "GET /index.php"},
		"micro.test":      {"GET /", "GET /hello/world?x=1", "GET /index.php", "GET /index.php/hello?x=1", "GET /a.txt", "GET /dir/", "GET /dir", "GET /dir/b.txt", "POST /form", "GET /index.phpx"},
		"portal.test":     {"GET /", "GET /node/1?page=2", "GET /install.php?a=b", "GET /core/install.php", "GET /core/lib/x.php", "GET /autoload.php", "GET /web.config", "GET /a.module", "GET /index.php.bak", "GET /.git/config", "GET /.well-known/a.txt", "GET /.well-known/none", "GET /favicon.ico", "GET /pic.svg", "GET /css/css_1.css", "GET /css/css_1.css|Accept-Encoding: gzip", "GET /css/", "GET /files/a.txt", "GET /files/evil.php", "GET /x|Proxy: evil", "GET /index.php/x"},
		"www.portal.test": {"GET /x"},
		"cms.test":        {"GET /", "GET /article/1", "GET /?x=base64_encode(1)", "GET /?q=%3Cscript%3E", "GET /api/v1/x?y", "GET /api/", "GET /readme.txt", "GET /a.ini", "GET /pic.svg", "GET /img/", "GET /img/a.txt", "POST /api/v1/x", "GET /index.php/x"},
		"light.test":      {"GET /", "GET /users/1?x=y", "GET /a%20b/c", "GET /static/a.html", "GET /static/none", "GET /robots.txt", "GET /denied/a.txt", "GET /x|User-Agent: BadBot/1", "GET /x|X-Forwarded-Proto: https", "POST /form?x", "GET /index.php/a/b", "GET /a//b", "GET /caf%C3%A9"},
		"drive.test":      {"GET /", "GET /apps/files/?dir=/", "GET /apps", "GET /apps/", "GET /remote.php/dav/files/a%20b", "GET /remote/x?y", "GET /.well-known/carddav", "GET /.well-known/webfinger?a", "GET /.well-known/acme-challenge/x", "GET /config/c.php", "GET /data/x.jpg", "GET /core/a.css", "GET /core/a.css?v=1", "GET /core/a.woff2", "GET /core/m.mjs", "GET /robots.txt", "GET /.hidden", "GET /index.php/login", "GET /core/js/x.js", "GET /core/none.css", "PROPFIND /remote.php/dav", "POST /ocs/v2.php?format=json"},
	})
}
