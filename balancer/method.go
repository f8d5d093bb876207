package balancer

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// A Method chooses among members. It sees only those that may be chosen, and
// never an empty list.
//
// Pick is called for each request, from many goroutines at once. It returns
// one of usable; for nil, the balancer tries the next set of members. It must
// not keep or change the slice. What it may want to know of a member is in the
// methods of [Member]: none of the built-in methods, which lie side by side in
// files method_*.go, uses anything else.
type Method interface {
	Pick(r *http.Request, usable []*Member) *Member
}

// A Feedback is a [Method] that wants to hear how requests went. Done is called
// once for each request that was sent to a member, when its answer has ended.
type Feedback interface {
	Method
	Done(m *Member, o Outcome)
}

// Outcome is how one request to a member went.
type Outcome struct {
	Status         int           // of the answer; 0 if there was none
	Err            error         // why it failed; nil if it did not
	Latency        time.Duration // to the head of the answer
	Duration       time.Duration // to its end
	Sent, Received int64         // bytes of the bodies, to the member and from it
}

// A Loader is a [Method] that keeps a figure for each member, Apache's
// lbstatus, which managers show as "Load".
type Loader interface {
	Method
	Load(m *Member) int64
}

// MethodByName returns a new method by Apache's word for it: byrequests,
// bytraffic, bybusyness, heartbeat; or by ours: random2, first, leasttime, and
// hash, which maps client addresses.
func MethodByName(name string) (Method, error) {
	if name == "" {
		return &ByRequests{}, nil
	}
	for _, m := range methods {
		if strings.EqualFold(m.name, name) {
			return m.new(), nil
		}
	}
	return nil, fmt.Errorf("balancer: no method is called %q", name)
}

// MethodNames returns the names that [MethodByName] knows.
func MethodNames() []string {
	names := make([]string, len(methods))
	for i, m := range methods {
		names[i] = m.name
	}
	return names
}

// methods are those built in, Apache's before ours.
var methods = []struct {
	name string
	new  func() Method
}{
	{"byrequests", func() Method { return &ByRequests{} }},
	{"bytraffic", func() Method { return ByTraffic{} }},
	{"bybusyness", func() Method { return &ByBusyness{} }},
	{"heartbeat", func() Method { return &Weighted{} }},
	{"random2", func() Method { return Random2{} }},
	{"first", func() Method { return First{} }},
	{"leasttime", func() Method { return &LeastTime{} }},
	{"hash", func() Method { return &Hash{} }},
}

// MethodName returns what a method calls itself by a String method, or the
// name of its type.
func MethodName(m Method) string {
	if s, ok := m.(fmt.Stringer); ok {
		return s.String()
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", m), "*")
}
