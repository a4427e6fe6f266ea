package lmtpd

import (
	"context"
	"crypto/tls"
	"net"
)

// Backend begins sessions. It is called from many goroutines.
type Backend interface {
	// NewSession is called once a connection. An error refuses it with 421.
	NewSession(ctx context.Context, info ConnInfo) (Session, error)
}

// Session is the backend's side of one connection. Errors become replies: a
// *Reply anywhere in the chain as it is, others by the table in reply.go.
//
// ctx lives until the connection's end or the server's; it is not cancelled when
// the peer goes away in the middle of a delivery.
type Session interface {
	// Mail begins a transaction. from is the reverse-path without its angle
	// brackets and source route, "" for the null path.
	Mail(ctx context.Context, from string, p MailParams) error
	// Rcpt accepts or refuses a recipient. to is the address as given, without
	// angle brackets and source route.
	Rcpt(ctx context.Context, to string) error
	// Data delivers m to all accepted recipients. It calls answer once for each,
	// by its index in m.Rcpts, from any goroutine and in any order, before it
	// returns; one that is missing is answered 451. m is valid until Data returns.
	Data(ctx context.Context, m *Message, answer func(rcpt int, res Result))
	// Confirm: the MTA has our replies to the last Data.
	Confirm()
	// Abandon: the connection ended, or went on, without a sign of that.
	Abandon()
	// Reset ends a transaction without Data (RSET, LHLO, refused message).
	Reset()
	// Logout is the last call.
	Logout()
}

// ConnInfo describes a connection at its beginning.
type ConnInfo struct {
	Remote, Local net.Addr
	Trusted       bool // may use XFORWARD
}

// MailParams is what came with MAIL and before it.
type MailParams struct {
	Size    int64  // SIZE=, 0 if not given
	Body    string // "", "7BIT" or "8BITMIME"
	UTF8    bool   // SMTPUTF8
	Helo    string // the argument of LHLO
	Forward XForward
	TLS     *tls.ConnectionState // nil without TLS
}

// Result is the outcome for one recipient. Err nil means stored: the server
// answers 250 with Text behind the recipient, or with a text of its own.
type Result struct {
	Err  error
	Text string
}
