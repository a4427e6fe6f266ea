package agent

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/state"
)

// stored delivers a message to the store's master on m and returns its body's id.
func (s *site) stored(m cluster.Machine, store cluster.Store, octets string) (id mail.BodyID) {
	s.t.Helper()
	x, err := s.agents[m].Slot(store)
	if err != nil {
		s.t.Fatal(err)
	}
	account := mail.AccountID{1}
	err = x.CreateAccount(s.t.Context(), account.String(), 0)
	if err == nil {
		_, err = x.Deliver(s.t.Context(), slot.Delivery{
			Transaction: mail.TransactionID{1}, Octets: []byte(octets), Recipients: []state.Recipient{{Account: account}},
		})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := x.Account(account).View(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer v.Close()
	inbox, err := v.Lookup("INBOX")
	if err != nil {
		s.t.Fatal(err)
	}
	for msg, err := range v.Messages(inbox.ID, 1, inbox.UIDNext) {
		if err != nil {
			s.t.Fatal(err)
		}
		id = msg.Extents[0].Body
	}
	return id
}

// ask has machine from ask m for a body in the name of a slot.
func (s *site) ask(from, m cluster.Machine, id mail.BodyID) (string, error) {
	b, err := peers{s.agents[from].Agent}.Body(s.t.Context(), m, "s1", slotID(2), slotID(1), id)
	if err != nil {
		return "", err
	}
	octets, err := io.ReadAll(b)
	return string(octets), errors.Join(err, b.Close())
}

func TestABodyIsGivenToCopiesOfTheStoreOnly(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1", "m2"))
		s.lead("m1", "s1")
		text := "Subject: x\r\n\r\n" + strings.Repeat("body\r\n", 100_000)
		id := s.stored("m1", "s1", text)
		if got, err := s.ask("m2", "m1", id); err != nil || got != text {
			t.Errorf("the partner got %d octets: %v", len(got), err)
		}
		for name, f := range map[string]func() (string, error){
			"not that machine's":      func() (string, error) { return s.ask("m3", "m1", id) },
			mail.ErrNoMessage.Error(): func() (string, error) { return s.ask("m2", "m1", id+1) },
			"is not here":             func() (string, error) { return s.ask("m2", "m3", id) },
			"other bodies are being s": func() (string, error) {
				a := s.agents["m1"]
				for range bodiesAtOnce {
					a.bodies <- struct{}{}
				}
				defer func() {
					for range bodiesAtOnce {
						<-a.bodies
					}
				}()
				return s.ask("m2", "m1", id)
			},
		} {
			if got, err := f(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: got %d octets, %v", name, len(got), err)
			}
		}
	}, "m1", "m2", "m3")
}

// TestAPeerThatDoesNotReadABodyIsGivenUp: it holds a place no longer than that.
func TestAPeerThatDoesNotReadABodyIsGivenUp(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1", "m2"))
		s.lead("m1", "s1")
		id := s.stored("m1", "s1", strings.Repeat("body\r\n", 100_000))
		b, err := peers{s.agents["m2"].Agent}.Body(t.Context(), "m1", "s1", slotID(2), slotID(1), id)
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * bodySilence)
		if n := len(s.agents["m1"].bodies); n != 0 {
			t.Errorf("%d are being sent", n)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}, "m1", "m2")
}
