package apache

import "strings"

// overrideClassOf returns what AllowOverride must permit for a directive to stand
// in .htaccess, if it ever may.
func overrideClassOf(directive string) (overrideClass, bool) {
	for class, names := range map[overrideClass]string{
		overrideAuth: `AuthType AuthName AuthBasicProvider AuthBasicAuthoritative AuthBasicFake AuthUserFile AuthGroupFile AuthMerging
			AuthDigestProvider AuthDigestDomain AuthDigestQop AuthDigestAlgorithm AuthDigestNonceLifetime AuthDigestNonceFormat AuthDigestNcCheck
			AuthzGroupFileAuthoritative AuthzSendForbiddenOnFailure CGIPassAuth Require Satisfy SSLRequireSSL SSLRequire SSLCipherSuite SSLVerifyClient SSLVerifyDepth SSLRenegBufferSize SSLUserName`,
		overrideLimit: `Order Allow Deny`,
		overrideInfo: `AcceptPathInfo Action AddCharset AddDefaultCharset AddEncoding AddHandler AddInputFilter AddLanguage AddOutputFilter AddOutputFilterByType AddType
			BrowserMatch BrowserMatchNoCase CGIVar CookieDomain CookieExpires CookieHTTPOnly CookieName CookieSameSite CookieSecure CookieStyle CookieTracking DefaultLanguage DefaultType DeflateAlterETag EnableMMAP EnableSendfile ErrorDocument FileETag ForceType
			Header RequestHeader LanguagePriority ForceLanguagePriority ModMimeUsePathInfo MultiviewsMatch PassEnv SetEnv UnsetEnv SetEnvIf SetEnvIfNoCase SetEnvIfExpr
			ProxyFCGISetEnvIf ProxyFCGIBackendType QualifyRedirectURL Redirect RedirectMatch RedirectPermanent RedirectTemp RedirectRelative
			RemoveCharset RemoveEncoding RemoveHandler RemoveInputFilter RemoveLanguage RemoveOutputFilter RemoveType
			RewriteEngine RewriteBase RewriteCond RewriteRule RewriteOptions SetHandler SetInputFilter SetOutputFilter Substitute SubstituteInheritBefore SubstituteMaxLineLength`,
		overrideIndexes: `AddAlt AddAltByEncoding AddAltByType AddDescription AddIcon AddIconByEncoding AddIconByType DefaultIcon DirectoryCheckHandler DirectoryIndex DirectoryIndexRedirect DirectorySlash
			ExpiresActive ExpiresByType ExpiresDefault FallbackResource HeaderName IndexHeadInsert IndexIgnore IndexIgnoreReset IndexOptions IndexOrderDefault IndexStyleSheet ReadmeName`,
		overrideAll: `DeflateInflateLimitRequestBody DeflateInflateRatioBurst DeflateInflateRatioLimit LimitRequestBody LimitXMLRequestBody LogIOTrackTTFB
			RLimitCPU RLimitMEM RLimitNPROC ServerSignature xml2EncDefault xml2StartParse`,
		overrideOptions: `Options CheckSpelling CheckCaseOnly SSLOptions FilterDeclare FilterProvider FilterChain FilterProtocol ReflectorHeader XBitHack`,
	} {
		for name := range strings.FieldsSeq(names) {
			if strings.EqualFold(name, directive) {
				return class, true
			}
		}
	}
	return 0, false
}
