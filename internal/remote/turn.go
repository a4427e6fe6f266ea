package remote

// turn lets one at a time do what may wait for a disk or a peer, which a mutex must not
// be held for.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take() { t <- struct{}{} }
func (t turn) give() { <-t }
