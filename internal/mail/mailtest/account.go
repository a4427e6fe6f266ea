package mailtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// Account is one account of a [Server].
type Account struct {
	server *Server
	id     mail.AccountID
	user   mail.AccountID // who asks; zero: the owner
}

var _ mail.Account = (*Account)(nil)

// ID returns the account's id.
func (a *Account) ID() mail.AccountID { return a.id }

// As implements mail.Account.
func (a *Account) As(user mail.AccountID) mail.Account {
	return &Account{server: a.server, id: a.id, user: user}
}

// View implements mail.Account.
func (a *Account) View(ctx context.Context) (mail.View, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("view: %w", err)
	}
	snapshot := a.server.snapshot()
	open := func(ctx context.Context, msgs []mail.Message) []mail.Opened {
		list := make([]mail.Opened, len(msgs))
		for i := range msgs {
			list[i].Content, list[i].Err = a.server.open(ctx, snapshot, &msgs[i])
		}
		return list
	}
	v, err := state.NewView(snapshot, a.id, open, nil)
	if err != nil {
		return nil, err
	}
	return v.As(a.user), nil
}

func (s *Server) open(ctx context.Context, r state.Batcher, msg *mail.Message) (mail.Content, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open message %d: %w", msg.UID, err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return state.Compose(msg, func(id mail.BodyID) (mail.Content, error) {
		kept, err := state.Bodies(r, []mail.BodyID{id})
		if err == nil {
			err = kept[0].Err
		}
		if err != nil {
			return nil, err
		}
		return kept[0].Chunked(func(p state.Placed) io.ReaderAt { return bytes.NewReader(s.chunks[p.LSN]) }), nil
	})
}

// Stage implements mail.Account.
func (a *Account) Stage(ctx context.Context, r io.Reader, limit int64) (mail.Body, error) {
	return a.server.Stage(ctx, r, limit)
}

// Do implements mail.Account.
func (a *Account) Do(ctx context.Context, req mail.Request) (mail.Result, error) {
	if err := ctx.Err(); err != nil {
		return mail.Result{}, fmt.Errorf("%w: %w", mail.ErrBusy, err)
	}
	if op, ok := req.Op.(mail.Append); ok {
		bodies := make([]mail.Body, 0, len(op.Messages))
		for _, m := range op.Messages {
			bodies = append(bodies, m.Body)
		}
		if err := a.server.place(state.Ahead(bodies...)); err != nil {
			return mail.Result{}, err
		}
	}
	p, err := a.server.builder.ProposeAs(a.id, a.user, req)
	if err != nil {
		return mail.Result{}, err
	}
	out, err := a.server.commit(p)
	return out.Result, err
}

// Watch implements mail.Account.
func (a *Account) Watch(m mail.MailboxID) (ch <-chan struct{}, stop func()) {
	return a.server.watchers.Watch(a.id, m)
}

// SetRecent implements mail.Account. The twin has no reason to lose it.
func (a *Account) SetRecent(m mail.MailboxID, user string, upTo mail.UID) mail.UID {
	a.server.marking.Lock()
	defer a.server.marking.Unlock()
	before := a.recent(m, user)
	if upTo <= before {
		return before
	}
	if p, err := a.server.builder.Recent(a.id, m, user, upTo); err == nil {
		_, _ = a.server.commit(p) // the mailbox may be gone
	}
	return before
}

func (a *Account) recent(m mail.MailboxID, user string) mail.UID {
	v, err := a.View(context.Background())
	if err != nil {
		return 0
	}
	defer v.Close()
	u, err := v.Recent(m, user)
	if err != nil {
		return 0
	}
	return u
}

// Derived implements mail.Account.
func (a *Account) Derived(version uint32, contents ...mail.EmailID) [][]byte {
	a.server.mu.RLock()
	defer a.server.mu.RUnlock()
	list := make([][]byte, len(contents))
	for i, e := range contents {
		if d := a.server.derived[e]; d.version == version {
			list[i] = d.data
		}
	}
	return list
}

// SetDerived implements mail.Account.
func (a *Account) SetDerived(e mail.EmailID, version uint32, data []byte) {
	a.server.mu.Lock()
	defer a.server.mu.Unlock()
	if len(a.server.derived) >= maxDerived {
		clear(a.server.derived)
	}
	a.server.derived[e] = derivedData{version, slices.Clone(data)}
}
