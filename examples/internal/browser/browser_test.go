package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBrowser(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<p id="said">%s</p><form><input name="a" value="old"><button>go</button></form>`, r.FormValue("a"))
	}))
	defer s.Close()
	b := Start(t)
	b.Open(s.URL)
	b.Type("input", "new & good")
	b.Click("button")
	b.Eventually(`document.querySelector("#said").textContent`)
	require.Equal(t, "new & good", b.Text("#said"))
	require.Contains(t, b.URL(), "?a=new")
	var n int
	b.Eval("return 1+1", &n)
	require.Equal(t, 2, n)
}
