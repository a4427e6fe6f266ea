package state

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// codec is a stored record: a value with every field set, and how it is read.
type codec struct {
	kind   string
	value  any
	encode func(*writer)
	decode func([]byte) (any, error)
}

func recode[T any](kind string, v T, encode func(*T, *writer), decode func([]byte) (T, error)) codec {
	return codec{
		kind, v,
		func(w *writer) { encode(&v, w) },
		func(b []byte) (any, error) { return decode(b) },
	}
}

func codecs() []codec {
	uids := mail.UIDSet{{Lo: 1, Hi: 4}, {Lo: 9, Hi: 9}, {Lo: 4_000_000_000, Hi: 1<<32 - 1}}
	result := mail.Result{
		ModSeq: 5, Mailbox: mail.MailboxID{1}, UIDValidity: 7, UIDs: uids, Source: uids[:1], Modified: uids[1:2], More: true,
	}
	p := page{present: 1<<63 | 5, largest: 1 << 50}
	p.put(0, mail.Seen, mail.Keywords{}.With(127).With(3), 1<<50)
	p.put(2, mail.Deleted|mail.Draft, mail.Keywords{}.With(3), 17)
	p.put(63, 0, mail.Keywords{}, 1)
	return []codec{
		recode("account", account{
			frozen: true, deleted: true, modseq: 1 << 62, uidvalidity: 1_700_000_000, fork: 2, slotFork: 1, time: 1_700_000_000_000_000,
			quota:     mail.Quota{LimitMessages: 1, LimitOctets: 2, UsedMessages: 3, UsedOctets: 4},
			mailboxes: 6, subscriptions: 5, inbox: mail.MailboxID{9}, nextExpiry: noExpiry, purging: true, history: 300,
			forgotten: 1 << 61, metadata: metadataUse{7, 800},
		}, (*account).encode, decodeAccount),
		recode("mailbox", mailbox{
			hidden: true, hiddenAt: 1_700_000_000_000_000, hiddenBy: 3, purging: true, uidvalidity: 1, uidnext: 1<<32 - 1, highest: 3, modseqFloor: 2, tombstoneFloor: 1,
			messages: 4, unseen: 3, deleted: 2, size: 1 << 40, use: mail.UseJunk, name: "Müll/x",
		}, (*mailbox).encode, decodeMailbox),
		recode("mailbox", mailbox{uidvalidity: 1, uidnext: 2, highest: 3, name: "INBOX"}, (*mailbox).encode, decodeMailbox),
		recode("mailbox", mailbox{shared: true, private: true, uidvalidity: 1, uidnext: 2, highest: 3, name: "Team"}, (*mailbox).encode, decodeMailbox),
		recode("mailbox", mailbox{hidden: true, hiddenAt: 5, hiddenBy: 2, shared: true, uidvalidity: 1, uidnext: 2, highest: 3, name: "Team"}, (*mailbox).encode, decodeMailbox),
		recode("grants", []mail.Grant{{Rights: mail.MayLookup}, {User: mail.AccountID{1}, Rights: mail.AllRights}},
			func(v *[]mail.Grant, w *writer) { encodeGrants(w, *v) }, decodeGrants),
		recode("count", uint32(300), func(v *uint32, w *writer) { w.start(); w.uint(uint64(*v)) }, decodeCount),
		recode("keywords", []string{"$Forwarded", "Work"}, func(v *[]string, w *writer) { encodeKeywords(w, *v) }, decodeKeywords),
		recode("message", mail.Message{
			Size: 120, InternalDate: -5, SaveDate: 1_700_000_000_000_000, EmailID: mail.EmailID{1}, ThreadID: mail.ThreadID{2},
			Created: 300, Prefix: []byte("a: b\r\n"), Extents: []mail.Extent{{Body: 1 << 40, Offset: 1, Length: 100}, {Body: 2, Length: 13}},
		}, func(v *mail.Message, w *writer) { encodeMessage(w, v) }, decodeMessage),
		recode("message", mail.Message{Size: 1, Created: 2, Prefix: []byte("a: b\r\n"), Extents: []mail.Extent{{Body: 2, Length: 1}}, UIDL: "0000abcd4c3b"},
			func(v *mail.Message, w *writer) { encodeMessage(w, v) }, decodeMessage),
		recode("flags", p, (*page).encode, func(b []byte) (p page, err error) { err = p.decode(b); return p, err }),
		recode("body", BodyRecord{Length: 9, SHA256: [32]byte{1}, References: 300}, (*BodyRecord).encode, decodeBody),
		recode("location", Location{Chunks: []Placed{{1 << 40, 1 << 20}, {5, 0}}}, (*Location).encode, decodeLocation),
		recode("delivery", delivery{
			time: 5, contentKey: make([]byte, 32), code: OverQuota, result: result,
		}, (*delivery).encode, decodeDelivery),
		recode("slot", slotRecord{forks: 3, forkTime: 9}, func(v *slotRecord, w *writer) { v.encode(w) }, decodeSlotRecord),
		recode("history", Deed{
			Kind: DeedMove, At: 5, Mailbox: mail.MailboxID{1}, UIDs: uids, To: mail.MailboxID{2}, ToUIDs: uids[:1], Cut: true, Name: "a", NewName: "b",
			Actor: mail.Actor{User: "u", By: "v", Session: mail.SessionID{3}, Remote: "192.0.2.1", Command: "MOVE", QueueID: "Q"},
		}, (*Deed).encode, decodeDeed),
		recode("history", Deed{
			Kind: DeedSetACL, At: 5, Mailbox: mail.MailboxID{1}, Actor: mail.Actor{User: "u"}, Grantee: mail.AccountID{2}, Was: 3, Rights: mail.AllRights,
		}, (*Deed).encode, decodeDeed),
		recode("history", Deed{Kind: DeedMetadata, At: 5, Entries: []string{"/private/comment", "/shared/comment"}}, (*Deed).encode, decodeDeed),
		recode("metadata", []byte("\x00value"), func(v *[]byte, w *writer) { encodeMetadata(w, *v) }, decodeMetadata),
		recode("access key", bytes.Repeat([]byte{7}, mail.AccessKeySize), func(v *[]byte, w *writer) { encodeAccess(w, *v) }, decodeAccess),
		recode("expunged message", expungedPair{
			removed{at: 5, by: 7, flags: mail.Seen | mail.Deleted, words: mail.Keywords{}.With(127)},
			mail.Message{Size: 4, Created: 3, Prefix: []byte("a"), Extents: []mail.Extent{{Body: 2, Length: 3}}},
		}, (*expungedPair).encode, decodePair),
		recode("location", Location{Pack: Packed{ID: 1<<63 | 5, Offset: 1 << 27, Size: 300}}, (*Location).encode, decodeLocation),
	}
}

// expungedPair is what one record of an expunged message has.
type expungedPair struct {
	r removed
	m mail.Message
}

func (p *expungedPair) encode(w *writer) {
	var m writer
	encodeMessage(&m, &p.m)
	p.r.encode(w, m)
}

func decodePair(b []byte) (p expungedPair, err error) {
	p.r, p.m, err = decodeRemoved(b)
	return p, err
}

// TestRecordsAreGolden: an index and a snapshot hold these octets across releases.
func TestRecordsAreGolden(t *testing.T) {
	const golden = "testdata/records.golden"
	var got strings.Builder
	for _, c := range codecs() {
		var w writer
		c.encode(&w)
		fmt.Fprintf(&got, "%s %x\n", c.kind, []byte(w))
		back, err := c.decode(w)
		if err != nil || !reflect.DeepEqual(back, c.value) {
			t.Errorf("%s: decoded to %+v, %v; want %+v", c.kind, back, err, c.value)
		}
	}
	checkGolden(t, golden, got.String())
}

func checkGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("not what %s has; got\n%s", path, got)
	}
}

// TestStoreIsGolden pins keys and records together: all pairs after a few
// operations of each kind.
func TestStoreIsGolden(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	h.add(a, "INBOX", mail.Deleted, mail.Seen, 0)
	inbox, junk := h.box(a, "INBOX").ID, h.box(a, "Junk").ID
	h.command(a, 1, mail.Store{Mailbox: inbox, UIDs: everyUID, Mode: mail.AddFlags, Keywords: []string{"k"}})
	h.do(a, mail.Expunge{Mailbox: inbox, UIDs: everyUID})
	h.do(a, mail.Copy{From: inbox, UIDs: everyUID, To: h.box(a, "Sent").ID})
	h.do(a, mail.Create{Name: "INBOX/x/y"})
	h.do(a, mail.Delete{Name: "Trash"})
	h.do(a, mail.Delete{Name: "Junk"})
	h.undelete(a, Undelete{Mailbox: junk, Name: "Junk 2"})
	h.apply(h.build.Recent(a, inbox, "u", 2))
	h.apply(h.build.Deliver(Delivery{
		Transaction: mail.TransactionID{1}, Body: h.body("Message-ID: <a@b>\r\n\r\n"),
		Recipients: []Recipient{{Number: 1, Account: a, Prefix: []byte("p: q\r\n"), ContentKey: [32]byte{1}}},
	}))
	h.do(a, mail.SetACL{Mailbox: inbox, User: mail.AccountID{3}, Rights: mail.MayLookup | mail.MaySeen})
	h.apply(h.build.ProposeAs(a, mail.AccountID{3}, mail.Request{Op: mail.Store{Mailbox: inbox, UIDs: everyUID, Mode: mail.AddFlags, Flags: mail.Seen}}))
	h.apply(h.build.Fork(mail.Actor{}, 0))
	h.apply(h.build.DeleteAccount(mail.Actor{}, h.account(mail.AccountID{2})))
	var got strings.Builder
	for k, v := range h.kv.Scan([]byte{0}, []byte{0xff}) {
		if k[0] == spaceAccount && k[1] == 2 && k[accountPrefix-1] != kindAccount {
			continue // the second account only shows what deletion does
		}
		fmt.Fprintf(&got, "%x %x\n", k, v)
	}
	checkGolden(t, "testdata/store.golden", got.String())
	sum := h.digest()
	checkGolden(t, "testdata/digest.golden", hex.EncodeToString(sum[:])+"\n")
}

func TestDamagedRecordsAreRefused(t *testing.T) {
	for _, c := range codecs() {
		var w writer
		c.encode(&w)
		for n := range len(w) {
			if c.kind == "slot" && n == 0 {
				continue // absent is empty
			}
			if _, err := c.decode(append([]byte{}, w[:n]...)); !errors.Is(err, cluster.ErrDamaged) {
				t.Errorf("%s of %d octets cut at %d: %v", c.kind, len(w), n, err)
			}
		}
		if _, err := c.decode(append(w[:len(w):len(w)], 0)); !errors.Is(err, cluster.ErrDamaged) {
			t.Errorf("%s with an octet too many: %v", c.kind, err)
		}
		newer := append([]byte{thirdVersion + 1}, w[1:]...)
		if _, err := c.decode(newer); !errors.Is(err, cluster.ErrNewer) {
			t.Errorf("%s of a newer release: %v", c.kind, err)
		}
	}
}

// FuzzRecords: no octets make a decoder panic or take much memory, and what is
// accepted means the same when written again.
func FuzzRecords(f *testing.F) {
	for i, c := range codecs() {
		var w writer
		c.encode(&w)
		f.Add(byte(i), []byte(w))
	}
	f.Add(byte(6), []byte{packedVersion, 0, 0, 0, 0, 0, 0, 0, 1, 64, 200, 1})
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		var w writer
		var again, v any
		var err error
		switch kind % 12 {
		case 0:
			v, err = reencode(b, &w, decodeAccount, (*account).encode, &again)
		case 1:
			v, err = reencode(b, &w, decodeMailbox, (*mailbox).encode, &again)
		case 2:
			v, err = reencode(b, &w, decodeKeywords, func(v *[]string, w *writer) { encodeKeywords(w, *v) }, &again)
		case 3:
			v, err = reencode(b, &w, decodeMessage, func(v *mail.Message, w *writer) { encodeMessage(w, v) }, &again)
		case 4:
			v, err = reencode(b, &w, func(b []byte) (p page, err error) { err = p.decode(b); return p, err }, (*page).encode, &again)
		case 5:
			v, err = reencode(b, &w, decodeBody, (*BodyRecord).encode, &again)
		case 6:
			v, err = reencode(b, &w, decodeLocation, (*Location).encode, &again)
		case 7:
			v, err = reencode(b, &w, decodeDelivery, (*delivery).encode, &again)
		case 8:
			v, err = reencode(b, &w, decodeDeed, (*Deed).encode, &again)
		case 9:
			v, err = reencode(b, &w, decodePair, (*expungedPair).encode, &again)
		case 11:
			v, err = reencode(b, &w, decodeGrants, func(v *[]mail.Grant, w *writer) { encodeGrants(w, *v) }, &again)
		case 10:
			_, _ = decodeMarks(b)
			_, _, _ = decodeTombstone(b)
			return
		}
		if err == nil && !reflect.DeepEqual(v, again) {
			t.Errorf("kind %d: %+v became %+v", kind%12, v, again)
		}
	})
}

func reencode[T any](b []byte, w *writer, decode func([]byte) (T, error), encode func(*T, *writer), again *any) (any, error) {
	v, err := decode(b)
	if err != nil {
		return nil, err
	}
	encode(&v, w)
	back, err := decode(*w)
	*again = back
	return v, err
}
