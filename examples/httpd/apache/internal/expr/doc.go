// Package expr reads the expressions of Apache (ap_expr): conditions, and text
// in which variables stand.
//
//	%{REQUEST_STATUS} =~ /^[234]/
//	%{REQUEST_STATUS} -lt 400 && hc('body') !~ /maintenance/
//	-n "%{QUERY_STRING}" || req('X-Key') in { 'a', 'b' }
//	%{tolower:%{HTTP_HOST}} -fnmatch '*.example.com' and not -R '10.0.0.0/8'
//	https://%{SERVER_NAME}%{REQUEST_URI}
//
//	text ─► Parse, ParseText (once, with the names that there are) ─► Expr, Text
//	Expr, Text ─► Eval (for each request, with a Lookup) ─► true or false, text
//
// What is the same for all requests is done here: operators, regular
// expressions and their groups ($0 to $9), tests of files, and the functions
// that only change text (tolower, md5 …). What a variable means, and functions
// that ask something of a request (req, env …), is the caller's affair.
package expr
