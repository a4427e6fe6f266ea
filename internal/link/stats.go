package link

// ServerStats are a server's figures.
type ServerStats struct {
	Open     int   // connections now
	Accepted int64 // connections so far
	Refused  int64 // since there were too many, or the server had ended
}

// Stats counts. Any goroutine may call it.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ServerStats{Open: len(s.conns), Accepted: s.accepted, Refused: s.refused}
}
