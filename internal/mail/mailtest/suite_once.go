package mailtest

import (
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/mail"
)

func (f *fixture) request(number uint64, chunk uint32, op mail.Op) mail.Request {
	return mail.Request{ID: mail.OpID{Session: mail.SessionID{42}, Number: number, Chunk: chunk}, Op: op}
}

func (f *fixture) answer(req mail.Request) string {
	res, err := f.acct.Do(f.Context(), req)
	return fmt.Sprintf("%+v %v", res, err)
}

var onceProperties = []property{
	{"the same id gives the same answer and no second effect", func(f *fixture) {
		f.add("INBOX", 0, mail.Deleted)
		inbox, sent := f.id("INBOX"), f.id("Sent")
		for i, op := range []mail.Op{
			mail.Append{Mailbox: inbox, Messages: []mail.NewMessage{{Body: f.stage("x")}}},
			mail.Store{Mailbox: inbox, UIDs: set(1), Mode: mail.AddFlags, Flags: mail.Seen},
			mail.Copy{From: inbox, UIDs: all, To: sent},
			mail.Append{Mailbox: sent, Messages: []mail.NewMessage{{Body: f.stage("y")}}, Replaces: &mail.Replaced{Mailbox: inbox, UID: 3}},
			mail.Move{From: inbox, UIDs: set(1), To: sent},
			mail.Expunge{Mailbox: inbox, UIDs: all},
			mail.Create{Name: "once"},
			mail.Rename{From: "once", To: "twice"},
			mail.Delete{Name: "twice"},
			mail.Subscribe{Name: "once", On: true},
			mail.SetQuota{LimitMessages: 100},
		} {
			req := f.request(uint64(i+1), 0, op)
			first := f.answer(req)
			f.add("Drafts", 0) // the account goes on
			before := f.account()
			equal(f, fmt.Sprintf("%T again", op), f.answer(req), first)
			equal(f, fmt.Sprintf("account after %T again", op), f.account(), before)
		}
	}},
	{"a refusal decided by the state is an answer too", func(f *fixture) {
		req := f.request(1, 0, mail.Rename{From: "nothing", To: "something"})
		first := f.answer(req)
		f.do(mail.Create{Name: "nothing"})
		equal(f, "again", f.answer(req), first)
		if _, err := f.acct.Do(f.Context(), req); !errors.Is(err, mail.ErrNoMailbox) {
			f.Errorf("refusal again: %v", err)
		}
	}},
	{"an older number is refused", func(f *fixture) {
		f.answer(f.request(5, 0, mail.Create{Name: "five"}))
		if _, err := f.acct.Do(f.Context(), f.request(4, 0, mail.Create{Name: "four"})); !errors.Is(err, mail.ErrOldCommand) {
			f.Errorf("older number: %v", err)
		}
		if _, err := f.view().Lookup("four"); !errors.Is(err, mail.ErrNoMailbox) {
			f.Errorf("it took effect: %v", err)
		}
	}},
	{"every chunk of the last command is remembered", func(f *fixture) {
		f.add("INBOX", 0, 0, 0)
		store := func(uid mail.UID) mail.Op {
			return mail.Store{Mailbox: f.id("INBOX"), UIDs: set(uid), Mode: mail.AddFlags, Flags: mail.Seen}
		}
		var first [3]string
		for i := range first {
			first[i] = f.answer(f.request(1, uint32(i), store(mail.UID(i+1))))
		}
		f.do(mail.Store{Mailbox: f.id("INBOX"), UIDs: all, Flags: 0})
		before := f.account()
		for i := range first {
			equal(f, fmt.Sprint("chunk ", i), f.answer(f.request(1, uint32(i), store(mail.UID(i+1)))), first[i])
		}
		equal(f, "account", f.account(), before)
		f.answer(f.request(2, 0, mail.Create{Name: "next"}))
		for i := range first {
			if _, err := f.acct.Do(f.Context(), f.request(1, uint32(i), store(1))); !errors.Is(err, mail.ErrOldCommand) {
				f.Errorf("chunk %d of the command before: %v", i, err)
			}
		}
	}},
	{"sessions do not know each other's numbers", func(f *fixture) {
		f.answer(f.request(9, 0, mail.Create{Name: "nine"}))
		*f.number = 0
		f.do(mail.Create{Name: "one"})
	}},
}
