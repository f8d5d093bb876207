package rfc9111

import (
	"strings"
	"time"
)

// parseDate reads an HTTP-date in one of its three forms and nothing else:
// RFC 9110 section 5.6.7. Names of days and months may be in any case, as RFC
// 9111 section 4.2 wishes for caches. net/http.ParseTime takes other zones,
// fractions and hours of one digit, all of which would make a wrong date of a
// broken one. now is for years of two digits.
func parseDate(s string, now time.Time) (time.Time, bool) {
	comma := strings.IndexByte(s, ',')
	switch {
	case comma == 3:
		return parseIMFFixdate(s)
	case comma > 3:
		return parseRFC850Date(s, comma, now)
	default:
		return parseAsctimeDate(s)
	}
}

// parseIMFFixdate reads "Sun, 06 Nov 1994 08:49:37 GMT".
func parseIMFFixdate(s string) (time.Time, bool) {
	if len(s) != 29 || !foldIn(s[:3], shortDays) || s[4] != ' ' || s[7] != ' ' || s[11] != ' ' || s[16] != ' ' ||
		!sameFold(s[25:], " GMT") {
		return time.Time{}, false
	}
	year, ok := digits(s[12:16])
	if !ok {
		return time.Time{}, false
	}
	return dateOf(year, s[8:11], s[5:7], s[17:25])
}

// parseRFC850Date reads "Sunday, 06-Nov-94 08:49:37 GMT".
func parseRFC850Date(s string, comma int, now time.Time) (time.Time, bool) {
	day, s := s[:comma], s[comma+1:]
	if len(s) != 23 || !foldIn(day, longDays) || s[0] != ' ' || s[3] != '-' || s[7] != '-' || s[10] != ' ' ||
		!sameFold(s[19:], " GMT") {
		return time.Time{}, false
	}
	year, ok := digits(s[8:10])
	if !ok {
		return time.Time{}, false
	}
	// What seems more than 50 years ahead is the latest such year in the past.
	limit := now.AddDate(50, 0, 0)
	year += limit.Year() / 100 * 100
	t, ok := dateOf(year, s[4:7], s[1:3], s[11:19])
	if ok && t.After(limit) {
		t, ok = dateOf(year-100, s[4:7], s[1:3], s[11:19])
	}
	return t, ok
}

// parseAsctimeDate reads "Sun Nov  6 08:49:37 1994".
func parseAsctimeDate(s string) (time.Time, bool) {
	if len(s) != 24 || !foldIn(s[:3], shortDays) || s[3] != ' ' || s[7] != ' ' || s[10] != ' ' || s[19] != ' ' {
		return time.Time{}, false
	}
	year, ok := digits(s[20:])
	if !ok {
		return time.Time{}, false
	}
	day := s[8:10]
	if day[0] == ' ' {
		day = day[1:]
	}
	return dateOf(year, s[4:7], day, s[11:19])
}

// dateOf puts the parts together: a month of three letters, digits of a day,
// and hh:mm:ss.
func dateOf(year int, monthName, dayText, clock string) (time.Time, bool) {
	month := foldIndex(monthName, months)
	day, ok1 := digits(dayText)
	if month < 0 || clock[2] != ':' || clock[5] != ':' {
		return time.Time{}, false
	}
	hour, ok2 := digits(clock[:2])
	minute, ok3 := digits(clock[3:5])
	second, ok4 := digits(clock[6:])
	if !ok1 || !ok2 || !ok3 || !ok4 || hour > 23 || minute > 59 || second > 60 || day == 0 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month+1), day, hour, minute, second, 0, time.UTC)
	// time.Date makes the 1st of March of the 30th of February.
	if first := time.Date(year, time.Month(month+1), 1, 0, 0, 0, 0, time.UTC); day > first.AddDate(0, 1, -1).Day() {
		return time.Time{}, false
	}
	return t, true
}

// digits reads a short number of nothing but digits.
func digits(s string) (int, bool) {
	n := 0
	for i := 0; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int(c)
	}
	return n, s != ""
}

const (
	shortDays = "MonTueWedThuFriSatSun"
	months    = "JanFebMarAprMayJunJulAugSepOctNovDec"
)

const longDays = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"

// foldIndex is the place of a name of three letters in a row of such names.
func foldIndex(s, names string) int {
	for i := 0; i < len(names); i += 3 {
		if sameFold(s, names[i:i+3]) {
			return i / 3
		}
	}
	return -1
}

// sameFold compares without regard to case, in ASCII alone: strings.EqualFold
// takes the long s of "ſunday" for an s.
func sameFold(a, b string) bool {
	return len(a) == len(b) && strings.EqualFold(a, b)
}

// foldIn reports whether s is one of the names.
func foldIn(s, names string) bool {
	if names == shortDays {
		return foldIndex(s, names) >= 0
	}
	for more := true; more; {
		var one string
		one, names, more = strings.Cut(names, " ")
		if sameFold(s, one) {
			return true
		}
	}
	return false
}
