// Package rfc9111 is the rules of HTTP caching: what may be stored, how long it is
// fresh, and what a request selects, as functions of header fields and times that
// read and write nothing else. Package cache goes by them; stores do
// not need them.
//
// Besides RFC 9111, and what it uses of RFC 9110, they are those of RFC 5861
// (stale-while-revalidate, stale-if-error), 8246 (immutable), 9211 (Cache-Status),
// 9213 (targeted fields) and 9651 (structured fields), and surrogate keys.
//
//	Transaction ─► Policy.Storable ─► a Refusal, or store.Meta
//	Meta ─► Policy.FactsOf ─► Facts, read once
//	Facts, request ─► Policy.Decide ─► Decision: fresh, stale but usable, or to be validated
package rfc9111
