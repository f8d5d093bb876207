package proxy

// Keys of what the context of a request knows. A Handler answers for most of
// them by one context, and an Observer for some.
type (
	recordKey        struct{} // its *exchange.Record
	observationKey   struct{} // the innermost observation around it
	passageKey       struct{} // the innermost Handler that it passes
	hooksKey         struct{} // the same, also of detached work
	clientRequestKey struct{} // the *http.Request of the client
)
