package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/tandemail/tandemail/e2e/ledger"
)

const (
	dialTime   = 5 * time.Second
	answerTime = 45 * time.Second // for one command: longer than any hold of the front end
)

// session is one log-in of an independent IMAP client.
type session struct {
	*imapclient.Client
	conn net.Conn
}

// login connects to one front end.
func login(ctx context.Context, addr string, u user) (*session, error) {
	d := net.Dialer{Timeout: dialTime}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &session{imapclient.New(conn, nil), conn}
	if err := s.do(func() error { return s.Login(u.User, u.Password).Wait() }); err != nil {
		s.Close()
		return nil, fmt.Errorf("log in as %s at %s: %w", u.User, addr, err)
	}
	return s, nil
}

// loginAnywhere logs in at any front end, trying until one lets it or ctx ends.
func (c *cluster) loginAnywhere(ctx context.Context, rng *rand.Rand, u user) (*session, error) {
	for {
		s, err := login(ctx, c.Machines[rng.IntN(len(c.Machines))].IMAP, u)
		if err == nil || !pause(ctx, 100*time.Millisecond) {
			return s, err
		}
	}
}

// do runs one command; when its answer takes too long the connection is cut.
func (s *session) do(command func() error) error {
	cut := time.AfterFunc(answerTime, func() { s.conn.Close() })
	defer cut.Stop()
	return command()
}

// outcome says what an error of a command means: only a tagged NO or BAD is a refusal.
func outcome(err error) ledger.Outcome {
	var e *imap.Error
	switch {
	case err == nil:
		return ledger.Acked
	case errors.As(err, &e) && (e.Type == imap.StatusResponseTypeNo || e.Type == imap.StatusResponseTypeBad):
		return ledger.Refused
	}
	return ledger.Unknown
}

// depth is how closely a look looks.
type depth int

const (
	headers depth = iota // token, flags, MODSEQ
	octets               // and every octet
)

// look sees a whole mailbox.
func (s *session) look(u user, mailbox string, d depth) (ledger.Observe, error) {
	o := ledger.Observe{Box: ledger.Box{User: u.User, Name: mailbox}}
	err := s.do(func() error {
		sel, err := s.Select(mailbox, &imap.SelectOptions{ReadOnly: true, CondStore: true}).Wait()
		if err == nil {
			o.Validity, o.Next, o.HighestModSeq = sel.UIDValidity, uint32(sel.UIDNext), sel.HighestModSeq
		}
		return err
	})
	if err != nil {
		return o, fmt.Errorf("select %s: %w", mailbox, err)
	}
	section := &imap.FetchItemBodySection{Peek: true}
	if d == headers {
		section.Specifier, section.HeaderFields = imap.PartSpecifierHeader, []string{"X-Ledger", "Message-ID"}
	}
	var all imap.UIDSet
	all.AddRange(1, 0)
	cmd := s.Fetch(all, &imap.FetchOptions{Flags: true, UID: true, ModSeq: true, BodySection: []*imap.FetchItemBodySection{section}})
	for {
		var m *imapclient.FetchMessageBuffer
		err := s.do(func() error {
			data := cmd.Next()
			if data == nil {
				return nil
			}
			var err error
			m, err = data.Collect()
			return err
		})
		if err != nil {
			cmd.Close()
			return o, fmt.Errorf("fetch %s: %w", mailbox, err)
		}
		if m == nil {
			break
		}
		o.Messages = append(o.Messages, judge(m, section, d))
	}
	if err := cmd.Close(); err != nil {
		return o, fmt.Errorf("fetch %s: %w", mailbox, err)
	}
	return o, nil
}

// judge turns what was fetched into what the ledger knows.
func judge(m *imapclient.FetchMessageBuffer, section *imap.FetchItemBodySection, d depth) ledger.Message {
	var names []string
	for _, f := range m.Flags {
		names = append(names, string(f))
	}
	stored := m.FindBodySection(section)
	l := ledger.Message{UID: uint32(m.UID), Token: tokenOf(stored), Flags: ledger.NewFlags(names...), ModSeq: m.ModSeq}
	if d == octets && !isOther(l.Token) {
		sent := content(l.Token)
		if delivered(l.Token) {
			sent = deliverable(l.Token)
		}
		l.Damage = damage(stored, sent)
	}
	return l
}
