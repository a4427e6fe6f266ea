package salvage

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// message is what is written with a message's octets.
type message struct {
	mailbox  string
	uid      mail.UID         // 0: it had none that is known
	validity mail.UIDValidity // likewise
	flags    mail.Flags
	keywords []string
	date     mail.Instant
	size     int64
	unplaced bool
}

// folder is what is known of a mailbox.
type folder struct {
	name     string
	validity mail.UIDValidity
	keywords []string // the table
}

// sink is where one account's mail goes.
type sink interface {
	// mailbox makes a mailbox. The messages that follow may be of others.
	mailbox(f folder) error
	// message adds a message, in the place and with the flags that it names.
	message(m message, octets io.Reader) error
	close() error
}

// account is one that is being written.
type account struct {
	work   *work
	sink   sink
	report *AccountReport
}

func (a *account) write(m message, octets io.Reader) error {
	if err := a.sink.message(m, octets); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	a.report.Messages++
	a.report.Octets += m.size
	a.work.report.Messages++
	a.work.report.Octets += m.size
	if m.unplaced {
		a.report.Unplaced++
	}
	return nil
}

func (a *account) lost(m message, why error) {
	a.work.report.lost(Lost{Account: a.report.Account, Address: a.report.Address, Mailbox: m.mailbox, UID: m.uid, Why: why.Error()})
}

// out begins an account, or goes on with it; nil if it is not asked for. Without a
// view its address is what packs say.
func (w *work) out(id mail.AccountID, v *state.View) (*account, error) {
	if a, ok := w.outs[id.String()]; ok {
		return a, nil
	}
	address, err := w.address(id, v)
	if err != nil {
		return nil, err
	}
	if u := w.cfg.User; u != "" && u != id.String() && !strings.EqualFold(u, address) {
		w.outs[id.String()] = nil
		return nil, nil
	}
	name := safeName(address)
	if name == "" || w.taken[name] {
		name = strings.TrimPrefix(name+"."+id.String(), ".")
	}
	w.taken[name] = true
	a := &account{work: w, report: &AccountReport{Account: id.String(), Address: address, To: filepath.Join(w.report.To, name)}}
	if w.cfg.Format == Mbox {
		a.sink, err = newMbox(a.report.To)
	} else {
		a.sink, err = newMaildir(a.report.To)
	}
	if err != nil {
		return nil, err
	}
	w.outs[id.String()] = a
	w.report.Accounts = append(w.report.Accounts, a.report)
	return a, nil
}

// address is the account's, as far as it can be told: the directory is not at hand.
// Deliveries name it, the newest last.
func (w *work) address(id mail.AccountID, v *state.View) (string, error) {
	newest, at := "", mail.Instant(0)
	if v != nil {
		for box, err := range v.Mailboxes() {
			if err != nil {
				return "", err
			}
			if box.NonExistent {
				continue
			}
			for m, err := range v.Messages(box.ID, 1, box.UIDNext) {
				if err != nil {
					return "", err
				}
				if a := deliveredTo(m.Prefix); a != "" && m.SaveDate >= at {
					newest, at = a, m.SaveDate
				}
			}
		}
	}
	if newest != "" {
		return newest, nil
	}
	snap, err := w.db.Snapshot()
	if err != nil {
		return "", err
	}
	defer snap.Close()
	b, err := snap.Get(append([]byte{keyAddress}, id[:]...))
	return string(b), err
}

// deliveredTo is the address in the header lines that were added for a recipient.
func deliveredTo(prefix []byte) string {
	for line := range bytes.Lines(prefix) {
		if rest, ok := bytes.CutPrefix(line, []byte("Delivered-To: ")); ok {
			return strings.Trim(string(rest), " <>\r\n")
		}
	}
	return ""
}

// safeName makes a name of one directory of an address.
func safeName(address string) string {
	var b strings.Builder
	for i, c := range []byte(address) {
		if c == '/' || c < ' ' || c == 0x7f || c == '%' || i == 0 && c == '.' {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	if b.Len() > 200 {
		return "" // the account's id serves
	}
	return b.String()
}

// finish ends every account.
func (w *work) finish() error {
	for _, a := range w.outs {
		if a == nil {
			continue
		}
		if err := a.sink.close(); err != nil {
			return err
		}
	}
	return nil
}
