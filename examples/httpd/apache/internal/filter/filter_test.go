package filter

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink is a client that counts flushes.
type sink struct {
	bytes.Buffer
	flushed int
	err     error
}

func (s *sink) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.Buffer.Write(b)
}

func (s *sink) Flush() error {
	s.flushed = s.Len()
	return s.err
}

func unpack(t *testing.T, b []byte) string {
	z, err := gzip.NewReader(bytes.NewReader(b))
	require.NoError(t, err)
	text, err := io.ReadAll(z)
	require.NoError(t, err)
	return string(text)
}

func pack(text string) []byte {
	var s sink
	p := new(Gzip).Filter(&s)
	_, _ = io.WriteString(p, text)
	_ = p.Close()
	return s.Bytes()
}

// TestGzip: what is flushed can be read at once, a packer is used again, and an end
// that is not written is not there.
func TestGzip(t *testing.T) {
	g := Gzip{Level: 9}
	for range 3 {
		var s sink
		p := g.Filter(&s)
		_, err := io.WriteString(p, "first ")
		require.NoError(t, err)
		require.NoError(t, p.Flush())
		require.Equal(t, s.Len(), s.flushed)
		z, err := gzip.NewReader(bytes.NewReader(s.Bytes()))
		require.NoError(t, err)
		got := make([]byte, 6)
		_, err = io.ReadFull(z, got)
		require.NoError(t, err)
		require.Equal(t, "first ", string(got))
		_, err = io.ReadAll(z)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		_, err = io.WriteString(p, "second")
		require.NoError(t, err)
		require.NoError(t, p.Close())
		require.NoError(t, p.Close())
		require.Equal(t, "first second", unpack(t, s.Bytes()))
		require.Equal(t, [2]int64{12, int64(s.Len())}, [2]int64{p.In, p.Out})
	}
}

// TestGunzip: whatever the pieces are, the text is the same; and what was flushed on
// the other side comes out at once.
func TestGunzip(t *testing.T) {
	for _, text := range []string{"", "hello", strings.Repeat("some text\n", 100000)} {
		in := pack(text)
		for _, piece := range []int{1, 7, 1 << 20} {
			var s sink
			u := Gunzip(&s)
			for rest := in; len(rest) > 0; {
				n, err := u.Write(rest[:min(piece, len(rest))])
				require.NoError(t, err)
				rest = rest[n:]
			}
			require.NoError(t, u.Close())
			require.Equal(t, text, s.String())
		}
	}
	var middle, out sink
	p, u := new(Gzip).Filter(&middle), Gunzip(&out)
	for _, word := range []string{"one ", "two ", "three"} {
		_, err := io.WriteString(p, word)
		require.NoError(t, err)
		require.NoError(t, p.Flush())
		_, err = u.Write(middle.Next(middle.Len()))
		require.NoError(t, err)
		require.NoError(t, u.Flush())
		require.True(t, strings.HasSuffix(out.String(), word))
		require.Equal(t, out.Len(), out.flushed)
	}
	require.NoError(t, p.Close())
	_, err := u.Write(middle.Bytes())
	require.NoError(t, err)
	require.NoError(t, u.Close())
	require.Equal(t, "one two three", out.String())

	in := pack("hello")
	for name, tc := range map[string]struct {
		in  []byte
		err error
	}{
		"nothing":     {nil, nil},
		"cut":         {in[:len(in)-3], io.ErrUnexpectedEOF},
		"cut head":    {in[:5], io.ErrUnexpectedEOF},
		"no gzip":     {[]byte("this is plain text"), gzip.ErrHeader},
		"wrong sum":   {append(bytes.Clone(in[:len(in)-8]), "12345678"...), gzip.ErrChecksum},
		"data behind": {append(bytes.Clone(in), "behind it all, and more"...), gzip.ErrHeader},
		"two":         {append(bytes.Clone(in), in...), nil},
	} {
		var s sink
		u := Gunzip(&s)
		_, err := u.Write(tc.in)
		if end := u.Close(); err == nil {
			err = end
		}
		require.ErrorIs(t, err, tc.err, name)
	}
	gone := errors.New("client is gone")
	u = Gunzip(&sink{err: gone})
	_, err = u.Write(in)
	require.ErrorIs(t, errors.Join(err, u.Close()), gone)
	Gunzip(&sink{}).(*pulling).stop() // one that nothing is written to holds nothing
}

func TestSubstitute(t *testing.T) {
	for _, tc := range []struct {
		rules    string // separated by a blank
		in, want string
	}{
		{"s/a/b/", "banana\n", "bbnbnb\n"},
		{"s/A/b/", "banana", "banana"},
		{"s/A/b/i", "banana", "bbnbnb"},
		{"s/A/$0/ni", "banana", "b$0n$0n$0"},
		{"s|.|$0|n", "a.b", "a$0b"},
		{"s/./x/", "ab\nc", "xxxx"}, // a dot is a newline, too
		{"s/^a/x/", "aab\naa", "xxb\nxx"},
		{"s/b$/x/", "ab\nab", "ab\nax"}, // the end is behind the newline
		{"s/(a)(b)?/[$1$2$3]/", "aba", "[ab][a]"},
		{`s/a/\$1\\/`, "a", `$1\`},
		{"s/x*/-/", "ab", "-a-b"},
		{"s/a/b/ s/b/c/", "ab\n", "cc\n"},
		{"s/(?!no)n./<$0>/", "none nine", "no<ne> <ni><ne>"},
		{"s///n s/a//", "a", ""},
	} {
		var list []*Substitution
		for _, text := range strings.Fields(tc.rules) {
			one, err := ParseSubstitution(text)
			if text == "s///n" {
				require.EqualError(t, err, "nothing is to be found")
				continue
			}
			require.NoError(t, err, text)
			list = append(list, one)
		}
		for piece := 1; piece <= len(tc.in); piece++ {
			var s sink
			f := Substitute(&s, list, 100)
			for rest := tc.in; rest != ""; {
				n, err := io.WriteString(f, rest[:min(piece, len(rest))])
				require.NoError(t, err)
				rest = rest[n:]
			}
			require.NoError(t, f.Close())
			require.Equal(t, tc.want, s.String(), "%s in pieces of %d", tc.rules, piece)
		}
	}
}

// TestSubstituteStreams: a whole line comes out with the next flush, a part of one
// does not; and no line becomes longer than is allowed.
func TestSubstituteStreams(t *testing.T) {
	one, err := ParseSubstitution("s/ab/xx/n")
	require.NoError(t, err)
	var s sink
	f := Substitute(&s, []*Substitution{one}, 10)
	_, err = io.WriteString(f, "ab\na")
	require.NoError(t, err)
	require.NoError(t, f.Flush())
	require.Equal(t, 3, s.flushed)
	require.Equal(t, "xx\n", s.String())
	_, err = io.WriteString(f, "b")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, "xx\nxx", s.String())

	for rule, in := range map[string]string{
		"s/ab/xx/n":        "01234567890",
		"s/a/0123456789/n": "aa\n",
		"s/a/0123456789/":  "aa\n",
		"s/b/0123456789/":  "aab",
	} {
		one, err := ParseSubstitution(rule)
		require.NoError(t, err)
		f := Substitute(&sink{}, []*Substitution{one}, 10)
		_, err = io.WriteString(f, in)
		if end := f.Close(); err == nil {
			err = end
		}
		require.ErrorIs(t, err, ErrLineTooLong, rule)
		require.ErrorIs(t, f.Flush(), ErrLineTooLong)
	}
}

func FuzzSubstitute(f *testing.F) {
	for _, s := range []string{"s/a/b/", "s|(a)(b)?|$2$1|i", "s#a.b#\\$#nq", "s/^/x/", "s/x*/-/f", "s/a", "x"} {
		f.Add(s, "a line\nab aXb\n")
	}
	f.Fuzz(func(t *testing.T, rule, text string) {
		one, err := ParseSubstitution(rule)
		if err != nil {
			return
		}
		var whole, pieces sink
		list := []*Substitution{one}
		w := Substitute(&whole, list, 1000)
		_, werr := io.WriteString(w, text)
		werr = errors.Join(werr, w.Close())
		p := Substitute(&pieces, list, 1000)
		for i := range len(text) {
			if _, err = io.WriteString(p, text[i:i+1]); err != nil {
				break
			}
		}
		err = errors.Join(err, p.Close())
		require.Equal(t, werr == nil, err == nil)
		if err == nil {
			require.Equal(t, whole.String(), pieces.String())
		}
	})
}
