package remote

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/mail"
)

var update = flag.Bool("update", false, "write the golden file anew")

func ptr[T any](v T) *T { return &v }

var (
	box     = mail.MailboxID{0xb0}
	uids    = mail.NewUIDSet(mail.UIDRange{Lo: 3, Hi: 3}, mail.UIDRange{Lo: 5, Hi: 1<<32 - 1})
	message = mail.Message{
		Mailbox: box, UID: 7, Size: 300, InternalDate: -1, SaveDate: 1_700_000_000_000_000, EmailID: mail.EmailID{0xe0},
		ThreadID: mail.ThreadID{0x70}, Created: 9, Prefix: []byte("a: b\r\n"), Extents: []mail.Extent{{Body: 4096, Offset: 1, Length: 294}}, UIDL: "x0",
	}
	actor = mail.Actor{User: "ann", By: "admin", Session: mail.SessionID{5}, Remote: "192.0.2.1", Command: "UID STORE", QueueID: "q"}
)

func doing(op mail.Op) question {
	return qDo{mail.AccountID{0xaa}, mail.Request{ID: mail.OpID{Session: mail.SessionID{5}, Number: 300, Chunk: 2}, Actor: actor, Op: op}}
}

var questions = []question{
	qView{mail.AccountID{0xaa}},
	qMailboxes{1},
	qSubscriptions{1},
	qLookup{1, "INBOX"},
	qMailbox{1, box},
	qFlags{1, box, 1, 1<<32 - 1, 77},
	qMessages{1, box, 1, 300},
	qMessage{1, box, 7},
	qExpunged{1, box, 77},
	qACL{1, box},
	qAccessKey{1, box},
	qChanged{1, 77},
	qEvents{1, 77},
	qMetadata{1, box, "/shared/"},
	qRecent{1, box, "ann"},
	qOpen{1, message},
	qRead{2, 1 << 33, rangeOctets},
	qStage{300},
	doing(mail.Append{Mailbox: box, Messages: []mail.NewMessage{
		{Body: bodyRef(3), Flags: mail.Seen, Keywords: []string{"$Junk"}, InternalDate: 5, EmailID: mail.EmailID{0xe1}, ThreadID: mail.ThreadID{0xe2}, UIDL: "x1"}, {Body: bodyRef(3)},
	}, Replaces: &mail.Replaced{Mailbox: box, UID: 7}}),
	doing(mail.Append{Mailbox: box, Messages: []mail.NewMessage{{Body: bodyRef(4)}}}),
	doing(mail.Store{Mailbox: box, UIDs: uids, Mode: mail.RemoveFlags, Flags: mail.AllFlags, Keywords: []string{"a", "b"}, UnchangedSince: ptr(mail.ModSeq(77))}),
	doing(mail.Store{Mailbox: box, Mode: mail.AddFlags}),
	doing(mail.Copy{From: box, UIDs: uids, To: mail.MailboxID{0xb1}}), doing(mail.Move{From: box, UIDs: uids, To: mail.MailboxID{0xb1}}),
	doing(mail.Expunge{Mailbox: box, UIDs: uids, Unmarked: true}), doing(mail.Create{Name: "Work", Use: mail.UseSent}),
	doing(mail.Delete{Name: "Work"}), doing(mail.Rename{From: "Work", To: "Play"}), doing(mail.Subscribe{Name: "Work", On: true}),
	doing(mail.SetACL{Mailbox: box, User: mail.AccountID{0xab}, Mode: mail.DeleteGrant, Rights: mail.AllRights}),
	doing(mail.SetMetadata{Mailbox: box, Entries: []mail.Metadata{
		{Name: "/shared/comment", Value: []byte("x")}, {Name: "/private/comment", Value: []byte{}}, {Name: "/shared/none"},
	}}),
	doing(mail.SetAccess{Mailbox: box, Drop: true}),
	doing(mail.SetQuota{LimitMessages: 300, LimitOctets: -1}),
	qWatch{box},
	qSetRecent{box, "ann", 7},
	qDerived{3, []mail.EmailID{{0xe0}, {0xe1}}},
	qSetDerived{mail.EmailID{0xe0}, 3, []byte("x")},
}

func exampleFrames() (list []frame) {
	for i, q := range questions {
		list = append(list, ask{uint64(i + 1), q})
	}
	return append(list, more{300, 2}, stop{300}, data{3, []byte("Subject: x\r\n")}, data{3, []byte{}},
		opened{7}, refused{codeOf(mail.ErrMoved), 8, "served elsewhere"}, answer{300, []byte("x")}, batch{300, true, []byte("x")},
		failed{300, codeOf(mail.ErrNoMailbox), "no such mailbox"}, signal{300}, credit{3, 1}, alive{})
}

var items = []struct {
	name   string
	octets []byte
	back   func(decoder) any
	want   any
}{
	item("account", appendAccount, decoder.account, mail.AccountInfo{
		ID: mail.AccountID{0xaa}, ModSeq: 80, Fork: 1, Frozen: true, Quota: mail.Quota{LimitMessages: 1, LimitOctets: 2, UsedMessages: 3, UsedOctets: 300},
	}),
	item("mailbox", appendMailbox, decoder.mailbox, mail.MailboxInfo{
		ID: box, Name: "Work/übung", UIDValidity: 1_700_000_000, UIDNext: 8, HighestModSeq: 80, TombstoneFloor: 2, Messages: 6, Unseen: 5,
		Deleted: 4, Size: 300, Use: mail.UseSent, Keywords: []string{"$Junk", "x"}, Subscribed: true, NonExistent: true, Rights: mail.AllRights, Shared: true,
	}),
	item("grant", appendGrant, decoder.grant, mail.Grant{User: mail.AccountID{0xab}, Rights: mail.MayLookup | mail.MayAdmin}),
	item("message", appendMessage, func(d decoder) mail.Message { return d.message(box) }, message),
	item("flags", appendFlags, decoder.flags, mail.MessageFlags{UID: 7, Flags: mail.Seen | mail.Draft, Keywords: mail.Keywords{3, 1 << 63}, ModSeq: 80}),
	item("tombstone", appendTombstone, decoder.tombstone, mail.Tombstone{ModSeq: 80, UIDs: uids}),
	item("event", appendEvent, decoder.event, mail.Event{
		ModSeq: 80, Kind: mail.RightsChanged, Mailbox: box, Name: "Work", NewName: "Play", Entries: []string{"/shared/comment"}, Was: mail.MayLookup,
	}),
	item("metadata", appendMetadata, decoder.metadata, mail.Metadata{Name: "/shared/comment", Value: []byte{}}),
	item("result", appendResult, decoder.result, mail.Result{
		ModSeq: 80, Mailbox: box, UIDValidity: 9, UIDs: uids, Source: uids, Modified: uids, More: true,
	}),
	item("hello", func(b []byte, h hello) []byte { return h.append(b) }, func(d decoder) hello {
		h, err := decodeHello(d.Rest())
		if err != nil {
			d.Fail()
		}
		return h
	}, hello{"s1", mail.AccountID{0xaa}, 7}),
}

func item[T any](name string, add func([]byte, T) []byte, back func(decoder) T, v T) struct {
	name   string
	octets []byte
	back   func(decoder) any
	want   any
} {
	return struct {
		name   string
		octets []byte
		back   func(decoder) any
		want   any
	}{name, add(nil, v), func(d decoder) any { return back(d) }, v}
}

func TestFramesAreEncodedAsDocumented(t *testing.T) {
	const golden = "testdata/frames.txt"
	var lines []string
	for _, f := range exampleFrames() {
		head, octets := encode(f)
		payload := append(bytes.Clone(head), octets...)
		name := strings.TrimPrefix(fmt.Sprintf("%T", f), "remote.")
		if a, ok := f.(ask); ok {
			name = "ask " + strings.TrimPrefix(fmt.Sprintf("%T", a.Question), "remote.q")
		}
		lines = append(lines, fmt.Sprintf("%02x %s  # %s", byte(f.kind()), hex.EncodeToString(payload), name))
		if got, err := decode(f.kind(), payload); err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, f)
		}
		for n := range payload {
			if _, err := decode(f.kind(), payload[:n]); err != nil && !errors.Is(err, errProtocol) {
				t.Errorf("%s, %d of %d octets: %v", name, n, len(payload), err)
			}
		}
	}
	for _, it := range items {
		lines = append(lines, fmt.Sprintf("%s  # %s", hex.EncodeToString(it.octets), it.name))
		d := decoder{fields.NewDecoder(it.octets)}
		if got := it.back(d); d.End(it.name) != nil || !reflect.DeepEqual(got, it.want) {
			t.Errorf("%s: got %+v, %v", it.name, got, d.End(it.name))
		}
	}
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the encoding has changed:\n%s", got)
	}
}

// mailPackage is the source of the words that have to cross.
func mailPackage(t *testing.T, file string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../mail/"+file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestEveryErrorOfPackageMailCrosses(t *testing.T) {
	known := map[string]bool{}
	for _, c := range codes {
		if c.code >= firstMail {
			known[c.err.Error()] = true
		}
		err := errorOf(codeOf(fmt.Errorf("deep inside: %w", c.err)), "told")
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), "told") {
			t.Errorf("%v becomes %v", c.err, err)
		}
		for _, other := range codes {
			if errors.Is(err, other.err) && !errors.Is(c.err, other.err) {
				t.Errorf("%v becomes %v too", c.err, other.err)
			}
		}
	}
	found := 0
	ast.Inspect(mailPackage(t, "account.go"), func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 1 {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); !ok || sel.Sel.Name != "New" {
			return true
		}
		text, err := strconv.Unquote(call.Args[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		if found++; !known[text] {
			t.Errorf("package mail has an error %q, which has no code", text)
		}
		return true
	})
	if found < 15 {
		t.Errorf("only %d errors of package mail were found", found)
	}
	if err := errorOf(60_000, "of a later release"); passing(err) || decided(err) {
		t.Errorf("a code that is not known: %v", err)
	}
}

func TestEveryOpOfPackageMailCrosses(t *testing.T) {
	crosses := map[string]bool{}
	for _, q := range questions {
		if q, ok := q.(qDo); ok {
			crosses[strings.TrimPrefix(fmt.Sprintf("%T", q.Request.Op), "mail.")] = true
		}
	}
	for _, d := range mailPackage(t, "op.go").Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "isOp" {
			continue
		}
		if name := f.Recv.List[0].Type.(*ast.Ident).Name; !crosses[name] {
			t.Errorf("mail.%s is not among the examples", name)
		}
	}
}

// FuzzDecode: whatever comes is a frame or an error, and what is a frame is written as it
// came.
func FuzzDecode(f *testing.F) {
	for _, fr := range exampleFrames() {
		head, octets := encode(fr)
		f.Add(byte(fr.kind()), append(bytes.Clone(head), octets...))
	}
	f.Fuzz(func(t *testing.T, k byte, payload []byte) {
		fr, err := decode(kind(k), payload)
		if err != nil {
			if !errors.Is(err, errProtocol) {
				t.Fatal(err)
			}
			return
		}
		head, octets := encode(fr)
		if got := append(bytes.Clone(head), octets...); !bytes.Equal(got, payload) {
			t.Errorf("%+v was %x and is written %x", fr, payload, got)
		}
		for _, it := range items { // answers and batches
			it.back(decoder{fields.NewDecoder(payload)})
		}
	})
}
