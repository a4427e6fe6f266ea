package session

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
)

var update = flag.Bool("update", false, "write the golden files anew")

func ptr[T any](v T) *T { return &v }

var (
	announced = Announced{
		UIDNext: 1025, Expunged: Cut{77, 12}, Flags: 78, Count: 900, Keywords: 2, Highest: 80,
		Sum:    Sum(0).Add(1).Add(2),
		Recent: mail.NewUIDSet(mail.UIDRange{Lo: 1000, Hi: 1024}),
	}
	selected = Selected{
		Mailbox: mail.MailboxID{1, 2, 3}, UIDValidity: 1700000000, ReadOnly: true, Announced: announced,
	}
	foreign = Selected{
		Owner: mail.AccountID{7, 8}, Fork: 3, Mailbox: mail.MailboxID{4}, UIDValidity: 1700000001, Announced: announced,
	}
	followed = []Followed{{mail.AccountID{3}, 1, 300}, {mail.AccountID{3, 1}, 0, 7}}
	token    = Token{
		Account: mail.AccountID{9}, Fork: 1, User: "ann", By: "admin", Enabled: CondStore | UTF8, LastCommand: 300,
		Selected: &selected,
		Saved:    mail.NewUIDSet(mail.UIDRange{Lo: 3, Hi: 3}, mail.UIDRange{Lo: 5, Hi: 1<<32 - 1}),
		Contexts: []Context{{"c1", []byte("c1 SEARCH ALL"), mail.NewUIDSet(mail.UIDRange{Lo: 1, Hi: 2})}},
		Notify:   []byte("x"), NotifySeq: 5, IdleTag: "i1",
		Fetch: Progress{Whole: 7, Inside: &Place{UID: 9, Item: 1, Octet: 300, Length: 70000}},
	}
	frames = []struct {
		name  string
		frame Frame
	}{
		{"open", Open{
			Version: 1, Session: mail.SessionID{0xab}, Protocol: IMAP, Account: mail.AccountID{0xcd},
			User: "ann@example.org", Remote: "192.0.2.1:1024", Epoch: 7,
		}},
		{"open with token", Open{Version: 1, Protocol: IMAP, User: "ann", By: "admin", Token: []byte("token")}},
		{"opened", Opened{Version: 1, Epoch: 8, Fork: 2}},
		{"command", Command{Number: 300, Last: true, Octets: []byte("a1 NOOP\r\n")}},
		{"command, first piece", Command{Number: 1, Octets: []byte("a1 APPEND x {3+}\r\na")}},
		{"end of idle", EndIdle{Number: 2}},
		{"close", Close{}},
		{"watch", Watch{Number: 300}},
		{"unit with a notification", Unit{Command: 300, Last: true, Octets: []byte("* STATUS x (MESSAGES 1)\r\n"), Delta: Delta{NotifySeq: ptr(mail.ModSeq(300))}}},
		{"done of a watch", Done{Command: 300}},
		{"unit with another's notification", Unit{Command: 300, Last: true, Octets: []byte("* STATUS x (MESSAGES 1)\r\n"), Delta: Delta{Followed: followed}}},
		{"done with a registration", Done{Command: 1, Line: []byte("a1 OK done\r\n"), Delta: Delta{Notify: []byte("a NOTIFY NONE\r\n"), NotifySeq: ptr(mail.ModSeq(5))}}},
		{"unit", Unit{Command: 1, N: 2, Last: true, Octets: []byte("* 3 EXISTS\r\n"), Delta: Delta{Announced: &announced}}},
		{"unit of a fetch", Unit{Command: 1, Last: true, Octets: []byte("* 1 FETCH (UID 7)\r\n"), Delta: Delta{Fetched: ptr(mail.UID(7))}}},
		{"unit, first part", Unit{Command: 1, Octets: []byte("* SEARCH 1")}},
		{"stream", Stream{Command: 1, UID: 5, Item: 1, Offset: 1 << 33, Length: 1 << 34}},
		{"data", Data{Octets: []byte("Subject: x\r\n")}},
		{"done", Done{Command: 1, Line: []byte("a1 OK done\r\n")}},
		{"done with delta", Done{Command: 1, Line: []byte("a1 OK done\r\n"), Delta: Delta{
			Enabled: ptr(CondStore), Selected: &selected, Saved: ptr(mail.UIDSet(nil)), IdleTag: ptr(""),
		}}},
		{"unit with contexts", Unit{Command: 1, Last: true, Octets: []byte("* x\r\n"), Delta: Delta{Contexts: []ContextChange{
			{Tag: "a", Program: []byte("a SEARCH ALL\r\n"), Added: mail.NewUIDSet(mail.UIDRange{Lo: 5, Hi: 7})},
			{Tag: "b", Removed: mail.NewUIDSet(mail.UIDRange{Lo: 5, Hi: 5})},
			{Tag: "c", Gone: true},
		}}}},
		{"done, closed", Done{Command: 1, Line: []byte("a1 OK done\r\n"), Delta: Delta{Closed: true}}},
		{"done with another user's mailbox", Done{Command: 1, Line: []byte("a1 OK done\r\n"), Delta: Delta{Selected: &foreign}}},
		{"failed", Failed{Command: 4, Reason: Moved, Epoch: 9, Text: "account is served elsewhere"}},
	}
)

// golden compares lines with those of a file.
func golden(t *testing.T, file string, lines []string) {
	t.Helper()
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: the encoding has changed:\n%s", file, got)
	}
}

func TestFramesAreEncodedAsDocumented(t *testing.T) {
	var lines []string
	for _, x := range frames {
		kind, head, octets := Encode(x.frame)
		payload := append(bytes.Clone(head), octets...)
		lines = append(lines, fmt.Sprintf("%02x %s  # %s", byte(kind), hex.EncodeToString(payload), x.name))
		got, err := Decode(kind, payload)
		if err != nil || fmt.Sprintf("%#v", deref(got)) != fmt.Sprintf("%#v", deref(x.frame)) {
			t.Errorf("%s: got %+v, %v", x.name, got, err)
		}
	}
	golden(t, "testdata/frames.txt", lines)
}

// deref makes deltas printable; nil and empty octets are the same.
func deref(f Frame) []any {
	switch f := f.(type) {
	case Unit:
		return append(fieldsOf(f.Delta), f.Command, f.N, f.Last, string(f.Octets))
	case Done:
		return append(fieldsOf(f.Delta), f.Command, string(f.Line))
	case Open:
		return []any{f.Version, f.Session, f.Protocol, f.Account, f.User, f.By, f.Remote, f.Epoch, string(f.Token)}
	}
	return []any{f}
}

func fieldsOf(d Delta) (list []any) {
	v := reflect.ValueOf(d)
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() == reflect.Pointer && !f.IsNil() {
			list = append(list, fmt.Sprintf("%d: %+v", i, f.Elem().Interface()))
		} else {
			list = append(list, f.IsZero())
		}
	}
	return list
}

func TestTokenIsEncodedAsDocumented(t *testing.T) {
	away, following, both := token, token, token
	away.Selected, both.Selected = &foreign, &foreign
	following.Followed, both.Followed = followed, followed
	var lines []string
	for i, tok := range []Token{token, away, following, both} {
		b, err := tok.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, hex.EncodeToString(b))
		got, err := DecodeToken(b)
		if err != nil || !reflect.DeepEqual(*got, tok) || int(b[0]) != min(i+1, TokenVersion) {
			t.Errorf("version %d: got %+v, %v", b[0], got, err)
		}
		for _, v := range []byte{0, TokenVersion + 1, 99} {
			if _, err := DecodeToken(append([]byte{v}, b[1:]...)); !errors.Is(err, ErrTokenVersion) {
				t.Errorf("another version: %v", err)
			}
		}
		for i := range b {
			if _, err := DecodeToken(b[:i]); err == nil {
				t.Errorf("token cut at %d was accepted", i)
			}
		}
	}
	golden(t, "testdata/token.txt", lines)
}

func TestTokenAboveTheLimitIsRefused(t *testing.T) {
	big := Token{Notify: make([]byte, MaxToken)}
	if _, err := big.Append(nil); !errors.Is(err, ErrTokenSize) {
		t.Errorf("got %v", err)
	}
	if _, err := DecodeToken(make([]byte, MaxToken+1)); !errors.Is(err, ErrTokenSize) {
		t.Errorf("got %v", err)
	}
}

func TestTokenFollowsTheDeltas(t *testing.T) {
	var tok Token
	if err := tok.Apply(Delta{Announced: &announced}); err == nil {
		t.Error("news of a mailbox that is not selected were taken")
	}
	steps := []Delta{
		{Enabled: ptr(CondStore)},
		{Selected: &selected},
		{Saved: ptr(mail.NewUIDSet(mail.UIDRange{Lo: 1, Hi: 9}))},
		{Announced: ptr(Announced{UIDNext: 2000}), IdleTag: ptr("i")},
	}
	var merged Delta
	for _, d := range steps {
		if err := tok.Apply(d); err != nil {
			t.Fatal(err)
		}
		merged.Merge(d)
	}
	want := Token{
		Enabled: CondStore, Saved: *steps[2].Saved, IdleTag: "i",
		Selected: &Selected{
			Mailbox: selected.Mailbox, UIDValidity: selected.UIDValidity, ReadOnly: true, Announced: *steps[3].Announced,
		},
	}
	if !reflect.DeepEqual(tok, want) {
		t.Errorf("got %+v", tok)
	}
	var once Token
	if err := once.Apply(merged); err != nil || !reflect.DeepEqual(once, want) {
		t.Errorf("merged: %+v, %v", once, err)
	}
	if selected.UIDNext != 1025 {
		t.Error("Apply changed the delta's own record")
	}
	if err := tok.Apply(Delta{Closed: true}); err != nil || tok.Selected != nil || tok.Saved != nil {
		t.Errorf("closed: %+v, %v", tok, err)
	}
}

func TestRegistrationFollowsNobodyUntilItSaysSo(t *testing.T) {
	register := Delta{Notify: []byte("x"), NotifySeq: ptr(mail.ModSeq(3))}
	tok := Token{Followed: followed}
	if err := tok.Apply(register); err != nil || tok.Followed != nil {
		t.Errorf("got %+v, %v", tok.Followed, err)
	}
	merged := Delta{Followed: followed}
	merged.Merge(register)
	if merged.Followed != nil {
		t.Errorf("merged: %+v", merged.Followed)
	}
	merged.Merge(Delta{Followed: followed[:1]})
	merged.Merge(Delta{NotifySeq: ptr(mail.ModSeq(4))})
	if err := tok.Apply(merged); err != nil || !reflect.DeepEqual(tok.Followed, followed[:1]) || tok.NotifySeq != 4 {
		t.Errorf("got %+v, %v", tok, err)
	}
}

func TestAccountsFollowedAreInOrderAndBounded(t *testing.T) {
	many := make([]Followed, MaxFollowed+1)
	for i := range many {
		many[i] = Followed{Owner: mail.AccountID{byte(i + 1)}}
	}
	for name, list := range map[string][]Followed{"too many": many, "twice": {followed[0], followed[0]}, "out of order": {followed[1], followed[0]}} {
		b := (&Delta{Followed: list}).Append(nil)
		if _, err := DecodeDelta(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTokenFollowsAFetch(t *testing.T) {
	var tok Token
	if err := tok.Apply(Delta{Fetched: ptr(mail.UID(5))}); err != nil || tok.Fetch != (Progress{Whole: 5}) {
		t.Errorf("got %+v, %v", tok.Fetch, err)
	}
	tok.Fetch.Inside = &Place{UID: 6}
	if err := tok.Apply(Delta{Fetched: ptr(mail.UID(6))}); err != nil || tok.Fetch != (Progress{Whole: 6}) {
		t.Errorf("after the message: %+v, %v", tok.Fetch, err)
	}
	if tok.Complete(9); tok.Fetch != (Progress{}) || tok.LastCommand != 9 {
		t.Errorf("after the command: %+v", tok)
	}
}

func TestSumDoesNotDependOnOrder(t *testing.T) {
	a := Sum(0).Add(1).Add(2).Add(3).Remove(2)
	b := Sum(0).Add(3).Add(1)
	if a != b || a == 0 || a.Remove(1).Remove(3) != 0 {
		t.Errorf("%x and %x", a, b)
	}
}

// pipe is frames in memory.
type pipe struct {
	kinds    []byte
	payloads [][]byte
	read     int
}

func (p *pipe) Read() (byte, []byte, error) {
	if p.read == len(p.kinds) {
		return 0, nil, io.EOF
	}
	p.read++
	return p.kinds[p.read-1], p.payloads[p.read-1], nil
}

// collected is a sink that keeps what it is given.
type collected struct{ units, literals, lines []string }

func (c *collected) Unit(_ context.Context, u Unit) error {
	c.units = append(c.units, fmt.Sprintf("%d.%d %v %s", u.Command, u.N, u.Delta.Announced != nil, u.Octets))
	return nil
}

func (c *collected) Stream(_ context.Context, _ Stream, r io.Reader) error {
	b, err := io.ReadAll(r)
	c.literals = append(c.literals, string(b))
	return err
}

func (c *collected) Done(_ context.Context, d Done) error {
	c.lines = append(c.lines, string(d.Line))
	return nil
}

func TestReceiverGivesWhatTheSinkWasGiven(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", MaxFrame/8)
	p := new(pipe)
	want := new(collected)
	give := func(s Sink) {
		t.Helper()
		ctx := t.Context()
		if err := errors.Join(
			s.Unit(ctx, Unit{Command: 1, Octets: []byte("* 1 EXISTS\r\n"), Delta: Delta{Announced: &announced}}),
			s.Unit(ctx, Unit{Command: 1, N: 1, Octets: []byte(big)}),
			s.Stream(ctx, Stream{Command: 1, UID: 2, Length: int64(len(big))}, strings.NewReader(big)),
			s.Stream(ctx, Stream{Command: 1, UID: 2, Offset: 3, Length: 5}, strings.NewReader("de")),
			s.Stream(ctx, Stream{Command: 1, UID: 3}, strings.NewReader("")),
			s.Done(ctx, Done{Command: 1, Line: []byte("a OK\r\n")}),
		); err != nil {
			t.Fatal(err)
		}
	}
	give(want)
	give(FrameSink{p})
	failed := Failed{Command: 2, Reason: Moved, Text: "moved"}
	if err := Send(t.Context(), p, failed); err != nil {
		t.Fatal(err)
	}
	got := new(collected)
	err := (&Receiver{R: p, Sink: got}).Run(t.Context())
	if e, ok := errors.AsType[*FailedError](err); !ok || e.Failed != failed || !e.Reason.Elsewhere() {
		t.Errorf("ended with %v", err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %.300v\nwant %.300v", got, want)
	}
}

func TestReceiverKeepsUnfinishedUnitsAndBrokenStreamsBack(t *testing.T) {
	part := Unit{Command: 1, Octets: []byte("* SEARCH 1")}
	for name, x := range map[string]struct {
		frames []Frame
		want   error
	}{
		"stream ends within a unit":    {[]Frame{part}, io.EOF},
		"unit too large":               {[]Frame{part, part}, ErrMalformed},
		"frame of a front end":         {[]Frame{Close{}}, ErrMalformed},
		"data without a stream":        {[]Frame{Data{[]byte("x")}}, ErrMalformed},
		"too much data":                {[]Frame{Stream{Length: 1}, Data{[]byte("xy")}}, ErrMalformed},
		"unit inside a literal":        {[]Frame{Stream{Length: 1}, part}, ErrMalformed},
		"stream ends within a literal": {[]Frame{Stream{Length: 2}, Data{[]byte("x")}}, io.EOF},
	} {
		p := new(pipe)
		for _, f := range x.frames {
			if err := Send(t.Context(), p, f); err != nil {
				t.Fatal(err)
			}
		}
		got := new(collected)
		err := (&Receiver{R: p, Sink: got, MaxUnit: 15}).Run(t.Context())
		if !errors.Is(err, x.want) || len(got.units) > 0 {
			t.Errorf("%s: %v, %v", name, err, got.units)
		}
	}
}

func (p *pipe) Write(_ context.Context, kind byte, parts ...[]byte) error {
	p.kinds = append(p.kinds, kind)
	p.payloads = append(p.payloads, bytes.Join(parts, nil))
	return nil
}

func TestLargeUnitsAndLiteralsFitTheirFrames(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), MaxFrame/8)
	p := new(pipe)
	s := FrameSink{p}
	delta := Delta{Announced: &announced}
	if err := s.Unit(t.Context(), Unit{Command: 1, N: 4, Delta: delta, Octets: big}); err != nil {
		t.Fatal(err)
	}
	if err := s.Stream(t.Context(), Stream{Command: 1, UID: 2, Length: int64(len(big))}, bytes.NewReader(big)); err != nil {
		t.Fatal(err)
	}
	var unit, literal []byte
	for i, kind := range p.kinds {
		f, err := Decode(Kind(kind), p.payloads[i])
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case Unit:
			unit = append(unit, f.Octets...)
			if f.N != 4 || f.Last != (len(unit) == len(big)) || f.Last != (f.Delta.Announced != nil) {
				t.Errorf("part of a unit: %d, %v, %v", f.N, f.Last, f.Delta)
			}
		case Data:
			literal = append(literal, f.Octets...)
		}
	}
	if !bytes.Equal(unit, big) || !bytes.Equal(literal, big) {
		t.Errorf("unit of %d octets, literal of %d, of %d each", len(unit), len(literal), len(big))
	}
	if err := s.Stream(t.Context(), Stream{Length: 10}, strings.NewReader("short")); err == nil {
		t.Error("a literal that ends early was taken")
	}
}

// FuzzDecode: what is accepted has one encoding only.
func FuzzDecode(f *testing.F) {
	for _, x := range frames {
		kind, head, octets := Encode(x.frame)
		f.Add(byte(kind), append(bytes.Clone(head), octets...))
	}
	b, _ := token.Append(nil)
	f.Add(byte(0), b)
	f.Fuzz(func(t *testing.T, kind byte, in []byte) {
		var out []byte
		if kind == 0 {
			tok, err := DecodeToken(in)
			if err != nil {
				return
			}
			if out, err = tok.Append(nil); err != nil {
				t.Fatal(err)
			}
		} else {
			fr, err := Decode(Kind(kind), in)
			if err != nil {
				return
			}
			_, head, octets := Encode(fr)
			out = append(head, octets...)
		}
		if !bytes.Equal(in, out) {
			t.Errorf("%x became %x", in, out)
		}
	})
}
