// Package expr reads the boolean expressions of Apache (ap_expr): comparisons
// of variables, strings and regular expressions, joined by &&, || and !.
//
//	%{REQUEST_STATUS} =~ /^[234]/
//	%{REQUEST_STATUS} -lt 400 && hc('body') !~ /maintenance/
//	-n "%{QUERY_STRING}" || req('X-Key') in { 'a', 'b' }
//
// What a variable or a function means is the caller's affair: an expression is
// checked once with the names that he knows, and then evaluated for each
// request. Not read are lists other than -in {…}, and backreferences.
package expr
