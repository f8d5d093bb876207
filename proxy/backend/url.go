package backend

import (
	"errors"
	"net/url"
	"strings"
)

// ParseURL is url.Parse, with an error that holds nothing of the text: there may
// be credentials in any part of a URL that is malformed.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err == nil {
		return u, nil
	}
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	reason, _, _ := strings.Cut(err.Error(), `"`) // what is quoted may be a piece of a password
	return nil, errors.New("malformed URL: " + strings.TrimSpace(reason))
}

// RedactURL returns a URL as errors and logs may show it, however malformed it is:
// without what may be credentials.
func RedactURL(text string) string {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return text
	}
	start := 0
	if i := strings.Index(text[:at], "://"); i >= 0 {
		start = i + len("://")
	}
	return text[:start] + "xxxxx" + text[at:]
}
