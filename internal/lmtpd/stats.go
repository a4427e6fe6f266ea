package lmtpd

import "github.com/tandemail/tandemail/internal/accept"

// Stats counts connections. Any goroutine may call it.
func (s *Server) Stats() accept.Stats { return s.conns.Stats() }
