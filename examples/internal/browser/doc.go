// Package browser drives a real headless Chromium for tests, by chromedriver
// and the WebDriver protocol (W3C WebDriver sections 8, 12 and 13).
//
//	test ── HTTP, JSON ──► chromedriver ──► chromium ──► the server under test
//
// A test gets a Browser from [Start] and needs not end it. Debian has both
// programs in the packages chromium and chromium-driver; without them the test
// skips, unless MODPROXY_INTEROP=require is set, when it fails.
package browser
