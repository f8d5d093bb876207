package proxy

// baton is held by one goroutine at a time, as a mutex is, but for as long as a
// client takes: who waits for it waits for a channel, so that the clock of a
// test in a bubble goes on.
type baton chan struct{}

func newBaton() baton { return make(baton, 1) }

func (b baton) take() { b <- struct{}{} }
func (b baton) give() { <-b }
