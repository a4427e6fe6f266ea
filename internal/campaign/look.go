package campaign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tandemail/tandemail/e2e/ledger"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
)

// lookAt reads everything of every user on the master that s is, to the last octet, and
// writes down what is there.
func lookAt(ctx context.Context, s *slot.Slot, rec *ledger.Recorder) error {
	for user := range users {
		for _, name := range append([]string{ledger.Inbox}, writersBoxes...) {
			begin := rec.Begin()
			o, err := look(ctx, s.Account(accountOf(user)), ledger.Box{User: userName(user), Name: name})
			if err != nil {
				return fmt.Errorf("look at %s of %s: %w", name, userName(user), err)
			}
			rec.End(begin, ledger.Acked, o)
		}
	}
	return nil
}

func look(ctx context.Context, a mail.Account, box ledger.Box) (o ledger.Observe, err error) {
	v, err := a.View(ctx)
	if err != nil {
		return o, err
	}
	defer v.Close()
	m, err := v.Lookup(box.Name)
	if err != nil {
		return o, err
	}
	o = ledger.Observe{Box: box, Validity: uint32(m.UIDValidity), Next: uint32(m.UIDNext), HighestModSeq: uint64(m.HighestModSeq)}
	flags := map[mail.UID]mail.MessageFlags{}
	for f, err := range v.Flags(m.ID, 1, m.UIDNext, 0) {
		if err != nil {
			return o, err
		}
		flags[f.UID] = f
	}
	for msg, err := range v.Messages(m.ID, 1, m.UIDNext) {
		if err != nil {
			return o, err
		}
		f := flags[msg.UID]
		seen := ledger.Message{UID: uint32(msg.UID), Flags: ledger.NewFlags(f.Flags.Names()...), ModSeq: uint64(f.ModSeq)}
		octets, err := octetsOf(ctx, v, msg)
		if err != nil {
			return o, fmt.Errorf("message %d: %w", msg.UID, err)
		}
		seen.Token, seen.Damage = compare(octets)
		o.Messages = append(o.Messages, seen)
	}
	return o, nil
}

func octetsOf(ctx context.Context, v mail.View, msg mail.Message) (string, error) {
	c, err := v.Open(ctx, msg)
	if err != nil {
		return "", err
	}
	b := make([]byte, c.Size())
	if _, err = c.ReadAt(b, 0); errors.Is(err, io.EOF) {
		err = nil
	}
	return string(b), errors.Join(err, c.Close())
}

// compare says which message these octets are, and how they differ from it.
func compare(octets string) (token ledger.Token, damage string) {
	head, _, _ := strings.Cut(octets, "\r\n")
	text, ok := strings.CutPrefix(head, "Subject: ")
	if !ok || !strings.Contains(text, ".") {
		return "", fmt.Sprintf("begins with %.40q", octets)
	}
	token = ledger.Token(text)
	if want := content(token); octets != want {
		return token, fmt.Sprintf("%d octets, not the %d that were sent", len(octets), len(want))
	}
	return token, ""
}
