package ftpproxy

import (
	"bytes"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jlaffaye/ftp"
)

// lineParser reads lines of LIST, in the forms of Unix, DOS and others, by the
// library. Its parser is not exported, and its List holds a whole directory, so
// it gets a few lines at a time, from a server in memory.
type lineParser struct {
	conn *ftp.ServerConn
	data bytes.Buffer
}

func newLineParser(zone *time.Location) (*lineParser, error) {
	if zone == nil {
		zone = time.UTC
	}
	p := new(lineParser)
	control := &memoryControl{}
	control.replies.WriteString("220 \r\n")
	dialled := false
	conn, err := ftp.Dial("memory", ftp.DialWithLocation(zone), ftp.DialWithDialFunc(func(_, _ string) (net.Conn, error) {
		if !dialled {
			dialled = true
			return control, nil
		}
		return &memoryData{lines: &p.data}, nil
	}))
	p.conn = conn
	return p, err
}

// parse appends the entries that the lines hold. Lines that are none are left
// out, as "total 12" is.
func (p *lineParser) parse(list []entry, lines []string) ([]entry, error) {
	for _, l := range lines {
		p.data.WriteString(mendLine(l))
		p.data.WriteByte('\n')
	}
	found, err := p.conn.List("")
	if err != nil {
		return list, err
	}
	for _, f := range found {
		e := entry{name: f.Name, size: -1, modified: f.Time, target: f.Target}
		switch f.Type {
		case ftp.EntryTypeFile:
			e.size = int64(min(f.Size, 1<<63-1))
		case ftp.EntryTypeFolder:
			e.kind = kindDirectory
		case ftp.EntryTypeLink:
			e.kind = kindLink
		}
		if e.usable() {
			list = append(list, e)
		}
	}
	return list, nil
}

// mendLine takes away what the library cannot read: the mark that ls puts
// behind the mode for a security context or for extended attributes.
func mendLine(l string) string {
	if len(l) > 11 && (l[10] == '.' || l[10] == '@') && l[11] == ' ' && strings.IndexByte("-dlbcps", l[0]) >= 0 {
		return l[:10] + l[11:]
	}
	return l
}

// memoryControl is the control connection of the server in memory.
type memoryControl struct {
	net.Conn // no method of it is called
	replies  bytes.Buffer
}

// Read hands out the replies.
func (c *memoryControl) Read(p []byte) (int, error) { return c.replies.Read(p) }

// Write answers a command.
func (c *memoryControl) Write(p []byte) (int, error) {
	switch verb, _, _ := strings.Cut(strings.TrimSpace(string(p)), " "); verb {
	case "EPSV":
		c.replies.WriteString("229 (|||1|)\r\n")
	case "LIST":
		c.replies.WriteString("150 \r\n226 \r\n")
	default:
		c.replies.WriteString("500 \r\n")
	}
	return len(p), nil
}

// Close has nothing to close.
func (c *memoryControl) Close() error { return nil }

// RemoteAddr is what the library makes the address of data connections of.
func (c *memoryControl) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero} }

// memoryData is a data connection of the server in memory.
type memoryData struct {
	net.Conn // no method of it is called
	lines    io.Reader
}

// Read hands out the lines.
func (d *memoryData) Read(p []byte) (int, error) { return d.lines.Read(p) }

// Close has nothing to close.
func (d *memoryData) Close() error { return nil }
