package exchange

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// WriteRefusal answers a request that a rule refuses.
func WriteRefusal(w http.ResponseWriter, r *http.Request, err error) {
	if StatusOf(err) == StatusClientClosedRequest {
		panic(http.ErrAbortHandler) // or net/http would take it for served
	}
	AddErrorFields(w.Header(), err)
	WriteErrorPage(w, r, StatusOf(err))
}

// WriteErrorPage answers with a status and a plain sentence. Nothing of the
// request or of the cause is in it. What is no final status is 500.
func WriteErrorPage(w http.ResponseWriter, r *http.Request, status int) {
	if status < 200 || status > 999 {
		status = http.StatusInternalServerError
	}
	text := http.StatusText(status)
	if text == "" {
		text = "Error"
	}
	body := fmt.Sprintf("%d %s\n", status, text)
	h := w.Header()
	h.Del("Content-Encoding")
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Content-Length"] = []string{fmt.Sprint(len(body))}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, body)
	}
}

// AddErrorFields adds what an error wants the client to know.
func AddErrorFields(h http.Header, err error) {
	var e *Error
	if !errors.As(err, &e) {
		return
	}
	if e.RetryAfter > 0 {
		h["Retry-After"] = []string{strconv.FormatInt(int64((e.RetryAfter-1)/time.Second)+1, 10)}
	}
	maps.Copy(h, e.Header)
}

// CloseRefusedConnect has the client's connection closed behind the answer to
// a CONNECT that is refused, if the request names a body: content means nothing
// there (RFC 9110 section 9.3.6), so nobody knows where the next request begins.
func CloseRefusedConnect(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
		_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) // or net/http would wait for the content first
	}
}
