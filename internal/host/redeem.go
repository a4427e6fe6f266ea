package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/imapd"
	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// errNotResumable: the token cannot be continued truthfully here.
var errNotResumable = errors.New("session cannot be resumed")

// redeem brings the executor into the state that the token describes. A selected
// mailbox is adopted only if nothing in it has changed since the client was last
// told: then the picture that SELECT takes now is the client's. errNotResumable,
// and mail.ErrNoMailbox if it is gone.
func (c *conn) redeem(ctx context.Context, account mail.Account) error {
	t, err := session.DecodeToken(c.open.Token)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotResumable, err)
	}
	switch {
	case t.Account != c.open.Account || t.User != c.open.User || t.By != c.open.By:
		return fmt.Errorf("%w: token of another user", errNotResumable)
	case len(t.Contexts) > 0 || len(t.Notify) > 0:
		return fmt.Errorf("%w: it has a search or notification under way", errNotResumable)
	case len(t.Saved) > 0:
		return fmt.Errorf("%w: it has a saved search result", errNotResumable)
	}
	defer func() { c.sink.kept = nil }()
	if t.Selected != nil {
		if err := c.adopt(ctx, account, t.Selected); err != nil {
			return err
		}
	}
	return c.enable(ctx, t.Enabled)
}

// adopt selects the mailbox of a token and compares the pictures.
func (c *conn) adopt(ctx context.Context, account mail.Account, want *session.Selected) error {
	name, err := nameOf(ctx, account, want.Mailbox)
	if err != nil {
		return err
	}
	verb := "SELECT"
	if want.ReadOnly {
		verb = "EXAMINE"
	}
	delta, err := c.quietly(ctx, string(imapwire.AppendMailbox([]byte("r "+verb+" "), name, false)))
	if err != nil {
		return err
	}
	got := delta.Selected
	if got == nil {
		return fmt.Errorf("%w: mailbox could not be selected", errNotResumable)
	}
	if delta.Announced != nil {
		got.Announced = *delta.Announced
	}
	if !unchanged(want, got) {
		return fmt.Errorf("%w: mailbox changed since the client was told of it", errNotResumable)
	}
	return nil
}

func nameOf(ctx context.Context, account mail.Account, id mail.MailboxID) (string, error) {
	v, err := account.View(ctx)
	if err != nil {
		return "", fmt.Errorf("look for the selected mailbox: %w", err)
	}
	defer v.Close()
	info, err := v.Mailbox(id)
	if err != nil {
		return "", fmt.Errorf("look for the selected mailbox: %w", err)
	}
	return info.Name, nil
}

// unchanged: both cuts are at the mailbox's HIGHESTMODSEQ, and the messages in
// view are the same by number and sum.
func unchanged(want, got *session.Selected) bool {
	return want.Mailbox == got.Mailbox && want.UIDValidity == got.UIDValidity && want.ReadOnly == got.ReadOnly &&
		want.UIDNext == got.UIDNext && want.Expunged == got.Expunged && want.Flags == got.Flags &&
		want.Count == got.Count && want.Sum == got.Sum && want.Keywords == got.Keywords
}

// enable enables what the client had enabled.
func (c *conn) enable(ctx context.Context, want session.Features) error {
	names := ""
	for _, f := range []struct {
		feature session.Features
		name    string
	}{{session.CondStore, " CONDSTORE"}, {session.QResync, " QRESYNC"}, {session.UTF8, " UTF8=ACCEPT"}, {session.Rev2, " IMAP4rev2"}, {session.UIDOnly, " UIDONLY"}} {
		if want&f.feature != 0 {
			names += f.name
		}
	}
	if names == "" {
		return nil
	}
	delta, err := c.quietly(ctx, "r ENABLE"+names)
	if err != nil {
		return err
	}
	if delta.Enabled == nil || *delta.Enabled != want {
		return fmt.Errorf("%w: it enabled what this server does not know", errNotResumable)
	}
	return nil
}

// quietly executes a command whose answer nobody gets, under number 0: it changes
// nothing. It must be answered OK.
func (c *conn) quietly(ctx context.Context, command string) (session.Delta, error) {
	collector := imapwire.NewCollector(limits(), nil)
	p := []byte(command + "\r\n")
	for step := imapwire.NeedMore; step != imapwire.Whole; {
		n, s, err := collector.Feed(p)
		if err != nil {
			return session.Delta{}, fmt.Errorf("%w: %q: %w", errNotResumable, command, err)
		}
		p, step = p[n:], s
	}
	k := new(kept)
	c.sink.kept = k
	if err := c.executor.Execute(ctx, imapd.Command{Raw: collector.Take()}); err != nil {
		return session.Delta{}, err
	}
	if !bytes.HasPrefix(k.line, []byte("r OK")) {
		return session.Delta{}, fmt.Errorf("%w: %q: %q", errNotResumable, command, k.line)
	}
	return k.delta, nil
}
