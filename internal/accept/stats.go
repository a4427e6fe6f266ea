package accept

// Stats are a server's figures.
type Stats struct {
	Open     int   // connections now
	Accepted int64 // connections so far
	Refused  int64 // since there were too many, or the server had ended
}

// Stats counts. Any goroutine may call it.
func (s *Server[C]) Stats() Stats {
	return Stats{Open: s.Len(), Accepted: s.accepted.Load(), Refused: s.turned.Load()}
}
