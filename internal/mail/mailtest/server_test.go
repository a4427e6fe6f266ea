package mailtest_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
	"github.com/tandemail/tandemail/internal/state"
)

func TestDeliveryGoesToEachRecipientWithItsPrefix(t *testing.T) {
	ctx := context.Background()
	s := mailtest.NewServer(mailtest.Config{})
	var recipients []state.Recipient
	for i := range 3 {
		id := mail.AccountID{byte(i + 1)}
		if _, err := s.CreateAccount(id, state.NewAccount{}); err != nil {
			t.Fatal(err)
		}
		recipients = append(recipients, state.Recipient{
			Number: uint32(i), Account: id, Prefix: []byte("Delivered-To: " + id.String() + "\r\n"), Use: mail.UseJunk,
		})
	}
	recipients = append(recipients, state.Recipient{Number: 9, Account: mail.AccountID{99}})
	body, err := s.Stage(ctx, strings.NewReader("Subject: x\n\nhello\n"), 1000)
	if err != nil {
		t.Fatal(err)
	}
	d := state.Delivery{Transaction: mail.TransactionID{7}, Body: body, Recipients: recipients}
	for round := range 2 { // the second time it is the same delivery
		out, err := s.Deliver(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		if out[3].Code != state.NoAccount {
			t.Errorf("unknown recipient: %v", out[3].Code)
		}
		for i, o := range out[:3] {
			if o.Code != state.Done || o.Repeated != (round == 1) {
				t.Fatalf("round %d, recipient %d: %+v", round, i, o)
			}
			v, err := s.Account(recipients[i].Account).View(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			box, err := v.Lookup("Junk")
			if err != nil || box.Messages != 1 || box.ID != o.Result.Mailbox {
				t.Fatalf("Junk: %+v, %v", box, err)
			}
			msg, err := v.Message(box.ID, 1)
			if err != nil {
				t.Fatal(err)
			}
			c, err := v.Open(ctx, msg)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
			if want := string(recipients[i].Prefix) + "Subject: x\r\n\r\nhello\r\n"; err != nil || string(got) != want {
				t.Errorf("content %q, %v", got, err)
			}
		}
	}
}

func TestTwin(t *testing.T) {
	s := mailtest.NewServer(mailtest.Config{})
	next := byte(0)
	mailtest.Run(t, func(t *testing.T) mail.Account {
		next++
		a, err := s.CreateAccount(mail.AccountID{next}, state.NewAccount{})
		if err != nil {
			t.Fatal(err)
		}
		return a
	})
}
