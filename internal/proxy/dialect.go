package proxy

import "context"

// dialect is what is peculiar to a client protocol. One belongs to one client and
// runs in its goroutine.
type dialect interface {
	// greet writes the greeting.
	greet(c *client)
	// login speaks with the client until it is logged in: client.enter has
	// succeeded and the client knows.
	login(ctx context.Context, c *client) error
	// next reads the next command for the master; it answers itself what concerns
	// only the front end. errLogout after an orderly end.
	next(ctx context.Context, c *client) (*flight, error)
	// unfinished reports whether octets that end a unit leave the client inside a
	// response, to be continued by a literal.
	unfinished(unit []byte) bool
	// understood reports whether a tagged line says that the command was one.
	understood(line []byte) bool
	// alive is a sign of life that may stand between any two responses; nil if the
	// protocol has none. The tag is that of the command whose answer takes long, or "".
	alive(tag string) []byte
	// end gives back what an unfinished command holds.
	end(c *client)
	// bye says why the session ends.
	bye(b bye) []byte
}
