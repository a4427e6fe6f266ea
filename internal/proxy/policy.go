package proxy

import (
	"fmt"

	"github.com/tandemail/tandemail/internal/session"
)

// What becomes of a session whose stream to the master ended, all of it:
//
//	the master says               Gone, NotResumable, Violation, Broken, InUse: BYE
//	the token is too large, or
//	does not follow               BYE
//	one machine alone is served   BYE
//	else                          the session is opened at whoever is master; the
//	                              token goes along if it says anything
//	the next master says          NotResumable, Gone, InUse: BYE
//	else                          the command without a tagged line is sent again
//	                              under its number
//
// To repeat a command is truthful: what changes state has one effect and one answer
// under one number, and the next master begins with the picture that the client has.
// Of an answer of one unit the client has all, with the tagged line, or nothing. A
// FETCH goes on behind the last whole message, or inside the literal that broke off.

// final is the reason to end the session that a master's word is; none if it may
// go on elsewhere, or there later.
func final(r session.Reason) bye {
	switch {
	case r == 0, r.Elsewhere():
		return none
	case r == session.Gone:
		return byeGone
	case r == session.NotResumable:
		return byeResume
	case r == session.Violation:
		return byeViolation
	case r == session.InUse:
		return byeInUse
	}
	return byeFault
}

// mayGoOn decides about a session that lost its stream while f was being answered.
// Its error is a *byeError.
func (c *client) mayGoOn(f *flight, lost *lostError) error {
	switch why := final(lost.reason); {
	case why != none:
		return &byeError{why, lost}
	case c.midway && c.token.Fetch.Inside == nil:
		return &byeError{byeCut, lost}
	case c.useless != nil:
		return &byeError{byeResume, c.useless}
	case c.cfg.Only != "":
		return &byeError{byeElsewhere, lost}
	}
	return nil
}

// opening is the frame that opens the session, or opens it again.
func (c *client) opening() (session.Open, error) {
	o := session.Open{
		Version: session.Version, Session: c.session, Protocol: c.protocol, Account: c.user.Account,
		User: c.user.User, By: c.user.AuthorisedBy,
	}
	if c.remote.IsValid() {
		o.Remote = c.remote.String()
	}
	t := &c.token
	if t.Enabled == 0 && t.Selected == nil && len(t.Saved) == 0 && len(t.Contexts) == 0 && len(t.Notify) == 0 {
		return o, nil // as new: nothing to go on from
	}
	b, err := t.Append(nil)
	if err != nil {
		return o, fmt.Errorf("resume session: %w", err)
	}
	o.Token = b
	return o, nil
}
