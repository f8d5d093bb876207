package zerovalues

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/fcgi/scgi"
	"github.com/modproxy/modproxy/fcgi/uwsgi"
	"github.com/modproxy/modproxy/proxy/backend"
)

// contentLength finds the variable in a request of SCGI or uwsgi.
var contentLength = regexp.MustCompile(`CONTENT_LENGTH(?:\x00|..)(\d+)`)

// application answers each connection as origin does, with a head before it. read
// returns what a request has before its body.
func (k *kit) application(head string, read func(r *bufio.Reader) ([]byte, error)) (addr string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(k.t, err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				r := bufio.NewReader(c)
				variables, err := read(r)
				if err != nil {
					return
				}
				sent := make([]byte, size)
				if m := contentLength.FindSubmatch(variables); m != nil && string(m[1]) != "0" {
					n, _ := strconv.Atoi(string(m[1]))
					sent = make([]byte, n)
					if _, err := io.ReadFull(r, sent); err != nil {
						return
					}
				}
				_, _ = fmt.Fprintf(c, "%s\r\n%s", head, sent)
			}()
		}
	}()
	return l.Addr().String(), func() { _ = l.Close() }
}

func readUWSGI(r *bufio.Reader) ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	variables := make([]byte, binary.LittleEndian.Uint16(head[1:]))
	_, err := io.ReadFull(r, variables)
	return variables, err
}

func readSCGI(r *bufio.Reader) ([]byte, error) {
	length, err := r.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil {
		return nil, err
	}
	variables := make([]byte, n+1)
	_, err = io.ReadFull(r, variables)
	return variables, err
}

// singleParts are those whose connections carry one request.
var singleParts = []part{
	of(func(k *kit, t *uwsgi.Transport) error {
		addr, stop := k.application("HTTP/1.1 200 OK\r\n", readUWSGI)
		defer stop()
		t.Backend = &backend.Backend{}
		return k.backend(t.Backend, "uwsgi://"+addr, t)
	}),
	of(func(k *kit, t *scgi.Transport) error {
		addr, stop := k.application("Status: 200 OK\r\n", readSCGI)
		defer stop()
		t.Backend = &backend.Backend{}
		return k.backend(t.Backend, "scgi://"+addr, t)
	}),
}
