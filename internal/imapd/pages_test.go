package imapd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/message"
)

// remembering is an account that counts what it is asked of derived data, by version, and
// may have it damaged.
type remembering struct {
	mail.Account
	read, set map[uint32]int
	damage    func(version uint32, data []byte) []byte
}

func (r *remembering) Derived(version uint32, contents ...mail.EmailID) [][]byte {
	r.read[version] += len(contents)
	list := r.Account.Derived(version, contents...)
	if r.damage != nil {
		for i := range list {
			list[i] = r.damage(version, list[i])
		}
	}
	return list
}

func (r *remembering) SetDerived(e mail.EmailID, version uint32, data []byte) {
	r.set[version]++
	r.Account.SetDerived(e, version, data)
}

func (r *remembering) reset() { r.read, r.set = map[uint32]int{}, map[uint32]int{} }

// TestPagesAnswerAsMessagesDo holds that a command gives the same when it is answered from
// pages, when they lack messages, and when they are damaged.
func TestPagesAnswerAsMessagesDo(t *testing.T) {
	const many = 3*pageSpan + 40 // its last page lacks some
	r := &remembering{Account: newAccount(t)}
	r.reset()
	d := newDirect(t, r, 1)
	d.fill(many)
	d.ok("SELECT INBOX")
	d.ok("STORE 5,200:210 +FLAGS.SILENT (\\Deleted)")
	commands := []string{
		"FETCH 1:* (UID ENVELOPE)", "FETCH 1:* (BODYSTRUCTURE)", "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT X-NONE)])",
		"SEARCH SUBJECT x", "SEARCH SENTSINCE 1-Jan-1990",
		"SEARCH BODY nowhere", "SEARCH TEXT x", "SEARCH TEXT su", "SEARCH OR BODY x TEXT nowhere",
	}
	for round := range 3 {
		for _, c := range commands {
			first := d.ok("%s", c)
			r.reset()
			if second := d.ok("%s", c); second != first {
				t.Fatalf("%s: the second time\n%.300s\nthe first\n%.300s", c, second, first)
			}
			if n := r.read[message.Version]; n > 2*pageSpan {
				t.Errorf("%s looked at %d messages by themselves", c, n)
			}
			if len(r.set) > 0 {
				t.Errorf("%s wrote the second time: %v", c, r.set)
			}
			was := strings.Count(first, "\r\n")
			for name, damage := range map[string]func(uint32, []byte) []byte{
				"cut": func(v uint32, b []byte) []byte { return b[:len(b)*2/3] },
				"lost": func(v uint32, b []byte) []byte {
					if v == message.Version {
						return b
					}
					return nil
				},
				"changed": func(v uint32, b []byte) []byte {
					b = []byte(string(b))
					if len(b) > 3 && v != message.Version {
						b[len(b)-1], b[0] = 0xff, 0xff
					}
					return b
				},
			} {
				r.damage = damage
				if got := d.ok("%s", c); strings.Count(got, "\r\n") != was {
					t.Errorf("round %d: %s with a page that is %s:\n%.300s\nnot\n%.300s", round, c, name, got, first)
				}
				r.damage = nil
			}
		}
		switch round {
		case 0:
			d.ok("EXPUNGE")
		case 1:
			d.fill(3) // fewer than a page is written for
			d.ok("NOOP")
		}
	}
}

// TestFewMessagesNeedNoPage holds that who wants few messages neither reads nor writes pages.
func TestFewMessagesNeedNoPage(t *testing.T) {
	r := &remembering{Account: newAccount(t)}
	r.reset()
	d := newDirect(t, r, 1)
	d.fill(2 * pageSpan)
	d.ok("SELECT INBOX")
	for _, c := range []string{"FETCH 7 (ENVELOPE)", "FETCH 100:102 (ENVELOPE BODYSTRUCTURE)", "FETCH 1,128,256 (ENVELOPE)", "SEARCH 9 FROM x"} {
		r.reset()
		d.ok("%s", c)
		for v := range r.read {
			if v != message.Version {
				t.Errorf("%s read entries of version %x", c, v)
			}
		}
	}
	r.reset()
	d.ok("FETCH 1:%d (ENVELOPE)", worthWriting+fewAsked-1)
	d.ok("FETCH %d:%d (ENVELOPE)", pageSpan, pageSpan+worthWriting)
	if n := r.set[piecesVersion|uint32(message.EnvelopePiece)]; n != 0 {
		t.Errorf("%d pages were written", n)
	}
	d.ok("FETCH 1:%d (ENVELOPE)", worthWriting+fewAsked)
	if n := r.set[piecesVersion|uint32(message.EnvelopePiece)]; n != 1 {
		t.Errorf("%d pages were written, want 1", n)
	}
}

// TestFieldsThatNobodyHasAreNotKept holds that a client cannot fill the disk with names of
// fields, and that a field which is there is kept.
func TestFieldsThatNobodyHasAreNotKept(t *testing.T) {
	r := &remembering{Account: newAccount(t)}
	r.reset()
	d := newDirect(t, r, 1)
	d.fill(2 * pageSpan)
	text := "X-There: yes\r\n\r\n"
	for range 2 * pageSpan {
		d.ok("APPEND INBOX {%d+}\r\n%s", len(text), text)
	}
	d.ok("SELECT INBOX")
	d.ok("SEARCH 1:%d HEADER X-There yes", 2*pageSpan)
	if n := r.set[fieldsVersion]; n != 0 {
		t.Errorf("%d pages of a field that is not there were written", n)
	}
	d.ok("SEARCH %d:* HEADER X-There yes", 2*pageSpan+1)
	if n := r.set[fieldsVersion]; n == 0 {
		t.Error("no page of a field that is there was written")
	}
}

// TestPagesOfAnotherForkAreNotUsed holds that what the key of a page names is never
// another message's.
func TestPagesOfAnotherForkAreNotUsed(t *testing.T) {
	var m mail.MailboxID
	seen := map[mail.EmailID]string{}
	for version := range uint32(3) {
		for _, field := range []string{"", "received", "x"} {
			for fork := range uint64(3) {
				for n := range uint32(3) {
					what := fmt.Sprint(version, field, fork, n)
					k := pageKey(version, field, m, fork, n)
					if other := seen[k]; other != "" {
						t.Errorf("%s and %s have one key", what, other)
					}
					seen[k] = what
				}
			}
		}
	}
}

func FuzzPage(f *testing.F) {
	p := &pages{largest: largePiece}
	for i := range 5 {
		p.add(mail.UID(3*i+1), []byte(strings.Repeat("x", i)))
	}
	p.add(100, nil)
	f.Add(p.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		var p pages
		p.decode(b)
		if len(p.list) > len(b) {
			t.Fatalf("%d messages of %d octets", len(p.list), len(b))
		}
		var again pages
		again.decode(p.encode())
		if len(again.list) != len(p.list) {
			t.Fatalf("%d messages, then %d", len(p.list), len(again.list))
		}
		for _, one := range p.list {
			if data, ok := again.find(one.uid); !ok || string(data) != string(one.data) || (data == nil) != (one.data == nil) {
				t.Fatalf("message %d: %q, %v", one.uid, data, ok)
			}
		}
	})
}
