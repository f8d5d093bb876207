package contextkey

// Keys of what the context of a request knows. A Handler answers for most of
// them by one context, and an Observer for some.
type (
	Record        struct{} // its *exchange.Record
	Observation   struct{} // the innermost observation around it
	Passage       struct{} // the innermost Handler that it passes
	Hooks         struct{} // the same, also of detached work
	ClientRequest struct{} // the *http.Request of the client
	Client        struct{} // the backend.Client for which a connection is opened
	Facts         struct{} // its *exchange.Facts, or what was decided of them at the door
	ClientHost    struct{} // the Host that the client has used, where the message has another
	User          struct{} // the name of its user, who was verified, and how: a [2]string
	ServerName    struct{} // the name to which the request is sent, of backend.WithServerName
)
