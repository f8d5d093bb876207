package accesslog

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// durationItem writes how long the request took. A unit that is none stands for
// itself, as in httpd.
func durationItem(unit string) logItem {
	per := map[string]time.Duration{"": time.Second, "s": time.Second, "ms": time.Millisecond, "us": time.Microsecond}[strings.ToLower(unit)]
	if per == 0 {
		return func(b []byte, _ *logEntry) []byte { return appendLogText(b, unit) }
	}
	return numberItem(func(e *logEntry) int64 { return int64(e.end.Sub(e.start) / per) })
}

// timeItem writes the time of the request, or with "end:" of its answer.
func timeItem(arg string) logItem {
	when := func(e *logEntry) time.Time { return e.start }
	switch point, rest, ok := strings.Cut(arg, ":"); {
	case point == "begin" && (ok || rest == ""):
		arg = rest
	case point == "end":
		arg, when = rest, func(e *logEntry) time.Time { return e.end }
	}
	number := func(of func(t time.Time) int64, width int) logItem {
		return func(b []byte, e *logEntry) []byte { return fmt.Appendf(b, "%0*d", width, of(when(e))) }
	}
	switch arg {
	case "":
		return func(b []byte, e *logEntry) []byte {
			return when(e).AppendFormat(b, "[02/Jan/2006:15:04:05 -0700]")
		}
	case "sec":
		return number(time.Time.Unix, 0)
	case "msec":
		return number(time.Time.UnixMilli, 0)
	case "usec":
		return number(time.Time.UnixMicro, 0)
	case "msec_frac":
		return number(func(t time.Time) int64 { return int64(t.Nanosecond() / 1e6) }, 3)
	case "usec_frac":
		return number(func(t time.Time) int64 { return int64(t.Nanosecond() / 1e3) }, 6)
	}
	parts := strftimeParts(arg)
	return func(b []byte, e *logEntry) []byte {
		t := when(e)
		for _, p := range parts {
			b = p(b, t)
		}
		return b
	}
}

// timePart writes a part of a time.
type timePart func(b []byte, t time.Time) []byte

// strftimeParts reads a format of strftime, in the C locale. Behind the percent
// sign may stand "-" (do not fill up), "_" (with blanks), "0" (with zeros), "^" (in
// capital letters), and E or O, which mean nothing there. What is not known stands
// for itself.
func strftimeParts(s string) (parts []timePart) {
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+1 == len(s) {
			text := s[i : i+1]
			parts = append(parts, func(b []byte, _ time.Time) []byte { return append(b, text...) })
			continue
		}
		start := i
		fill, upper := byte(0), false
		for i++; i+1 < len(s) && strings.IndexByte("-_0^EO", s[i]) >= 0; i++ {
			switch s[i] {
			case '^':
				upper = true
			case 'E', 'O':
			default:
				fill = s[i]
			}
		}
		part := strftimePart(s[i], fill)
		if part == nil {
			text := s[start : i+1]
			part = func(b []byte, _ time.Time) []byte { return append(b, text...) }
		}
		if upper {
			lower := part
			part = func(b []byte, t time.Time) []byte {
				return append(b, strings.ToUpper(string(lower(nil, t)))...)
			}
		}
		parts = append(parts, part)
	}
	return parts
}

// strftimePart returns what writes a letter of strftime; nil if it is none.
func strftimePart(letter, fill byte) timePart {
	if layout, ok := map[byte]string{
		'p': "PM", 'P': "pm", 'b': "Jan", 'h': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday", 'z': "-0700", 'Z': "MST",
		'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'r': "03:04:05 PM",
		'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05",
	}[letter]; ok {
		return func(b []byte, t time.Time) []byte { return t.AppendFormat(b, layout) }
	}
	if text, ok := map[byte]string{'%': "%", 'n': "\n", 't': "\t"}[letter]; ok {
		return func(b []byte, _ time.Time) []byte { return append(b, text...) }
	}
	number, width, usual := strftimeNumber(letter)
	if number == nil {
		return nil
	}
	if fill == 0 {
		fill = usual
	}
	return func(b []byte, t time.Time) []byte {
		text := strconv.Itoa(number(t))
		for n := len(text); fill != '-' && n < width; n++ {
			if fill == '_' {
				b = append(b, ' ')
			} else {
				b = append(b, '0')
			}
		}
		return append(b, text...)
	}
}

// strftimeNumber returns the number that a letter of strftime stands for, how wide
// it is, and what fills it up.
func strftimeNumber(letter byte) (of func(t time.Time) int, width int, fill byte) {
	switch letter {
	case 'Y':
		return time.Time.Year, 1, '0'
	case 'C':
		return func(t time.Time) int { return t.Year() / 100 }, 2, '0'
	case 'y':
		return func(t time.Time) int { return t.Year() % 100 }, 2, '0'
	case 'G':
		return func(t time.Time) int { y, _ := t.ISOWeek(); return y }, 1, '0'
	case 'g':
		return func(t time.Time) int { y, _ := t.ISOWeek(); return y % 100 }, 2, '0'
	case 'V':
		return func(t time.Time) int { _, w := t.ISOWeek(); return w }, 2, '0'
	case 'U':
		return func(t time.Time) int { return (t.YearDay() + 6 - int(t.Weekday())) / 7 }, 2, '0'
	case 'W':
		return func(t time.Time) int { return (t.YearDay() + 6 - (int(t.Weekday())+6)%7) / 7 }, 2, '0'
	case 'm':
		return func(t time.Time) int { return int(t.Month()) }, 2, '0'
	case 'd':
		return time.Time.Day, 2, '0'
	case 'e':
		return time.Time.Day, 2, '_'
	case 'j':
		return time.Time.YearDay, 3, '0'
	case 'H':
		return time.Time.Hour, 2, '0'
	case 'k':
		return time.Time.Hour, 2, '_'
	case 'I':
		return func(t time.Time) int { return (t.Hour()+11)%12 + 1 }, 2, '0'
	case 'l':
		return func(t time.Time) int { return (t.Hour()+11)%12 + 1 }, 2, '_'
	case 'M':
		return time.Time.Minute, 2, '0'
	case 'S':
		return time.Time.Second, 2, '0'
	case 's':
		return func(t time.Time) int { return int(t.Unix()) }, 1, '0'
	case 'u':
		return func(t time.Time) int { return (int(t.Weekday())+6)%7 + 1 }, 1, '0'
	case 'w':
		return func(t time.Time) int { return int(t.Weekday()) }, 1, '0'
	}
	return nil, 0, 0
}
