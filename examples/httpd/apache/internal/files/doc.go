// Package files finds and serves what is on disk, by httpd's rules. It knows
// nothing of a configuration: who calls says what each folder permits.
//
//	"/srv/www/sub/a.php/x"
//	   │ Find: folder by folder, links as each folder permits
//	   ▼
//	Found{Name: "/srv/www/sub/a.php", Extra: "/x"}
//	   │ Rules.Of: type, language, encoding and handler, by the suffixes
//	   ▼
//	Answer.Serve: conditions and ranges by net/http
//	Listing.Serve: what is in a folder
package files
