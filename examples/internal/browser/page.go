package browser

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/stretchr/testify/require"
)

// elementKey is how WebDriver marks a reference to an element (section 12).
const elementKey = "element-6066-11e4-a52e-4f735466cecf"

// Open loads a page and waits until it is there.
func (b *Browser) Open(url string) {
	b.t.Helper()
	b.command("POST", b.session+"/url", map[string]any{"url": url}, nil)
}

// URL returns the address of the page.
func (b *Browser) URL() (url string) {
	b.t.Helper()
	b.command("GET", b.session+"/url", nil, &url)
	return url
}

// Text returns the visible text of the first element that the CSS selector
// finds.
func (b *Browser) Text(selector string) (text string) {
	b.t.Helper()
	b.command("GET", b.element(selector)+"/text", nil, &text)
	return text
}

// Click clicks an element.
func (b *Browser) Click(selector string) {
	b.t.Helper()
	b.command("POST", b.element(selector)+"/click", map[string]any{}, nil)
}

// Type replaces what stands in a field.
func (b *Browser) Type(selector, text string) {
	b.t.Helper()
	e := b.element(selector)
	b.command("POST", e+"/clear", map[string]any{}, nil)
	b.command("POST", e+"/value", map[string]any{"text": text}, nil)
}

// Eval runs the body of a JavaScript function and stores what it returns in
// result, unless that is nil.
func (b *Browser) Eval(script string, result any) {
	b.t.Helper()
	b.command("POST", b.session+"/execute/sync", map[string]any{"script": script, "args": []any{}}, result)
}

// Eventually waits until a JavaScript expression is true.
func (b *Browser) Eventually(expression string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		var ok bool
		b.Eval("return !!("+expression+")", &ok)
		return ok
	}, 20*time.Second, 20*time.Millisecond, expression)
}

// Downloads says in which folder the files are put that are downloaded from now
// on.
func (b *Browser) Downloads(folder string) {
	b.t.Helper()
	b.command("POST", b.session+"/goog/cdp/execute", map[string]any{
		"cmd": "Browser.setDownloadBehavior", "params": map[string]any{"behavior": "allow", "downloadPath": folder},
	}, nil)
}

// Screenshot writes a PNG of the window.
func (b *Browser) Screenshot(file string) {
	b.t.Helper()
	var text string
	b.command("GET", b.session+"/screenshot", nil, &text)
	png, err := base64.StdEncoding.DecodeString(text)
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(file, png, 0o644))
}

// element returns the URL of the first element that the selector finds.
func (b *Browser) element(selector string) string {
	b.t.Helper()
	var found map[string]string
	b.command("POST", b.session+"/element", map[string]any{"using": "css selector", "value": selector}, &found)
	return b.session + "/element/" + found[elementKey]
}

// command sends a command and reads its result.
func (b *Browser) command(method, url string, arguments, result any) {
	b.t.Helper()
	var body io.Reader
	if arguments != nil {
		text, err := json.Marshal(arguments)
		require.NoError(b.t, err)
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequest(method, url, body)
	require.NoError(b.t, err)
	resp, err := b.client.Do(r)
	require.NoError(b.t, err)
	defer resp.Body.Close()
	var answer struct {
		Value json.RawMessage `json:"value"`
	}
	require.NoError(b.t, json.NewDecoder(resp.Body).Decode(&answer))
	require.Equal(b.t, http.StatusOK, resp.StatusCode, "%s %s: %s", method, url, answer.Value)
	if result != nil {
		require.NoError(b.t, json.Unmarshal(answer.Value, result))
	}
}
