package apache

import (
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/files"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/plainfile"
)

// mimeDirectives are those of mod_mime, and what the core says of types.
func mimeDirectives() []directive {
	list := []directive{
		{name: "TypesConfig", in: inServer, min: 1, max: 1, note: "without such a file, the types of usual files are known", apply: func(b *builder, s *scope, d *conf.Directive) error {
			types, err := b.readTypes(d.Args[0])
			if errors.Is(err, fs.ErrNotExist) {
				b.warn(d.Errorf("TypesConfig: %w; the types of usual files are known without it", err))
				return nil
			}
			b.opt.types, b.opt.typed = types, true
			return err
		}},
		{name: "ForceType", in: anywhere, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			kind := d.Args[0]
			if strings.EqualFold(kind, "none") {
				kind = ""
			}
			s.settings.files.forceType = &kind
			return nil
		}},
		{name: "DefaultType", in: anywhere, min: 1, max: 1, note: "none alone, as in httpd 2.4", apply: func(b *builder, _ *scope, d *conf.Directive) error {
			if !strings.EqualFold(d.Args[0], "none") {
				b.warn(d.Errorf("DefaultType has no effect since httpd 2.4: use ForceType or AddType"))
			}
			return nil
		}},
		{name: "AddDefaultCharset", in: anywhere, min: 1, max: 1, note: "for text/plain and text/html, of backends, too", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			charset := d.Args[0]
			switch strings.ToLower(charset) {
			case "off":
				charset = ""
			case "on":
				charset = "iso-8859-1"
			}
			s.settings.files.defaultCharset = &charset
			return nil
		}},
		{name: "DefaultLanguage", in: anywhere, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			s.settings.files.mime.DefaultLanguage = d.Args[0]
			return nil
		}},
		{name: "ModMimeUsePathInfo", in: anywhere, min: 1, max: 1, apply: func(_ *builder, _ *scope, d *conf.Directive) error {
			on, err := onOff(d)
			if on {
				err = d.Errorf("ModMimeUsePathInfo On is not supported: types are those of the name of the file")
			}
			return err
		}},
		{name: "MimeMagicFile", in: anyServer, min: 1, max: 1, note: "types are those of names, and not guessed from contents"},
	}
	for _, kind := range []struct {
		kind         files.Kind
		add, unknown string
	}{{files.Type, "Type", "type"}, {files.Charset, "Charset", "charset"}, {files.Language, "Language", "language"}, {files.Encoding, "Encoding", "encoding"}, {files.Handler, "Handler", "handler"}} {
		list = append(list,
			directive{name: "Add" + kind.add, in: anywhere, min: 2, max: -1, apply: func(b *builder, s *scope, d *conf.Directive) error {
				value := d.Args[0]
				if kind.kind == files.Handler || kind.kind == files.Type {
					if err := b.fileHandler(s, d, value, kind.kind == files.Type); err != nil {
						return err
					}
				}
				if kind.kind == files.Charset || kind.kind == files.Type {
					value = lowerType(value)
				}
				s.settings.files.mime.Add(kind.kind, value, d.Args[1:]...)
				return nil
			}},
			directive{name: "Remove" + kind.add, in: anywhere, min: 1, max: -1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
				s.settings.files.mime.Remove(kind.kind, d.Args...)
				return nil
			}})
	}
	return list
}

// lowerType returns a media type or a charset in lower case; values of parameters
// but charset stay.
func lowerType(t string) string {
	base, params, ok := strings.Cut(t, ";")
	if !ok {
		return strings.ToLower(t)
	}
	return strings.ToLower(base) + ";" + params
}

// readTypes reads a TypesConfig.
func (b *builder) readTypes(name string) (files.Types, error) {
	f, err := plainfile.Open(b.file(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return files.ReadTypes(io.LimitReader(f, 16<<20))
}

// startTypes reads the types that httpd knows without a TypesConfig.
func (b *builder) startTypes() {
	if b.opt.types != nil {
		return
	}
	for _, name := range []string{"conf/mime.types", "/etc/mime.types"} {
		if types, err := b.readTypes(name); err == nil {
			b.opt.types = types
			return
		}
	}
	b.opt.types = files.UsualTypes()
}

// typeOf returns the media type of what is served from a file, its languages,
// encodings and handler.
func (s *served) metaOf(name string, types files.Types) files.Meta {
	m := s.files.mime.Of(name, types)
	if force := said(s.files.forceType, ""); force != "" {
		m.Type = force
	}
	m.Type = s.withDefaultCharset(m.Type)
	return m
}

// withDefaultCharset obeys AddDefaultCharset.
func (s *served) withDefaultCharset(kind string) string {
	charset := said(s.files.defaultCharset, "")
	if charset == "" || files.HasCharset(kind) {
		return kind
	}
	base, _, _ := strings.Cut(kind, ";")
	switch strings.ToLower(strings.TrimSpace(base)) {
	case "text/html", "text/plain":
		return kind + "; charset=" + charset
	}
	return kind
}
