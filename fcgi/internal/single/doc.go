// Package single is an exchange of the protocols in which a connection carries one
// request and ends with its answer, SCGI and uwsgi: what is the same in both.
//
//	request ─► variables ─► head, and the body behind it ─► connection
//	answer  ◄─ body to the end of the connection ◄─ head ◄──┘
package single
