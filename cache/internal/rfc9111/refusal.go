package rfc9111

import "strconv"

// Refusal is the reason why a response is not stored; "" means that it is.
type Refusal string

// The reasons of the rules, and of the engine.
const (
	refusedMethod        Refusal = "only responses to GET are stored"
	refusedField         Refusal = "a header field that is not valid"
	refusedCookie        Refusal = "Set-Cookie without public or s-maxage"
	refusedUnderstand    Refusal = "must-understand with a status that is not understood"
	refusedNoStore       Refusal = "no-store in the response"
	refusedPrivate       Refusal = "private in the response"
	refusedVaryAll       Refusal = "Vary: * never matches"
	refusedAsked         Refusal = "no-store in the request"
	refusedAuthorization Refusal = "Authorization in the request, without public, must-revalidate or s-maxage"
	RefusedTooHeavy      Refusal = "too much in the fields that Vary names"
	refusedQuery         Refusal = "query without an explicit lifetime"
	refusedNoCache       Refusal = "no-cache without a validator"
	refusedLifetime      Refusal = "neither a lifetime nor a validator"
	refusedBroken        Refusal = "a broken lifetime and no validator"
	refusedExpired       Refusal = "already expired, without a validator"
	refusedPart          Refusal = "partial content without one readable Content-Range"
	RefusedContradiction Refusal = "a Content-Range that contradicts the length"
	RefusedPurged        Refusal = "purged while it was fetched"
	RefusedLocked        Refusal = "another request is storing it"
	RefusedLarge         Refusal = "larger than MaxFileSize"
	RefusedSmall         Refusal = "smaller than MinFileSize"
	RefusedStoreLimit    Refusal = "larger than the store takes"
	RefusedStore         Refusal = "the store does not take it"
	RefusedUpgrade       Refusal = "the connection was taken over"
	RefusedBypass        Refusal = "the cache is passed by"
	RefusedUnsafe        Refusal = "the method is not one that is cached"
	RefusedBody          Refusal = "a request to read that has a body"
	RefusedCondition     Refusal = "a condition that only the origin can judge"
	RefusedSmallPart     Refusal = "a small part of something large"
	RefusedCut           Refusal = "it broke off"
	refusedFinal         Refusal = "the status is not a final one"
	refusedConditional   Refusal = "the status answers a condition or a range of this request only"
	refusedStatus        Refusal = "the status is not cacheable without an explicit lifetime"
)

// Word is the reason in a word, for a response of that status.
func (r Refusal) Word(status int) string {
	switch r {
	case refusedMethod, RefusedUnsafe:
		return "method"
	case refusedField:
		return "invalid field"
	case refusedCookie:
		return "Set-Cookie"
	case refusedUnderstand:
		return "must-understand"
	case refusedNoStore, refusedAsked:
		return "no-store"
	case refusedPrivate:
		return "private"
	case refusedVaryAll:
		return "Vary *"
	case refusedAuthorization:
		return "Authorization"
	case RefusedTooHeavy:
		return "Vary"
	case refusedQuery:
		return "query"
	case refusedNoCache:
		return "no-cache"
	case refusedLifetime, refusedBroken:
		return "no lifetime"
	case refusedExpired:
		return "expired"
	case refusedPart, RefusedContradiction:
		return "Content-Range"
	case RefusedPurged:
		return "purged"
	case RefusedLocked:
		return "locked"
	case RefusedLarge, RefusedStoreLimit:
		return "too large"
	case RefusedSmall:
		return "too small"
	case RefusedStore:
		return "store error"
	case RefusedUpgrade:
		return "upgrade"
	case RefusedBypass:
		return "bypass"
	case RefusedBody:
		return "body"
	case RefusedCondition:
		return "condition"
	case RefusedSmallPart:
		return "small part"
	case RefusedCut:
		return "broken off"
	case refusedFinal, refusedConditional, refusedStatus:
		return "status " + strconv.Itoa(status)
	}
	return ""
}
