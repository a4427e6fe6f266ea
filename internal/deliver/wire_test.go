package deliver

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

var update = flag.Bool("update", false, "write the golden file anew")

func exampleRequest() Request {
	return Request{
		Store: "s01", Epoch: 7, wait: 8 * time.Second, Transaction: mail.TransactionID{0xaa, 1}, Remote: "192.0.2.1", QueueID: "4Q",
		Recipients: []state.Recipient{
			{Number: 0, Account: mail.AccountID{1}, Prefix: []byte("A: 1\r\n"), ContentKey: [32]byte{9, 8}},
			{
				Number: 3, Account: mail.AccountID{2}, Mailbox: mail.MailboxID{3}, Use: mail.UseJunk, Prefix: []byte("A: 2\r\n"),
				Flags: mail.Seen, Keywords: []string{"$Junk", "x"}, InternalDate: 1e15,
				Name: "Lists/Go", EmailID: mail.EmailID{4}, ThreadID: mail.ThreadID{5},
			},
		},
		Octets: []byte("Subject: x\r\n\r\n"),
	}
}

func exampleSettle() Settle {
	return Settle{
		Store:     "s01",
		Confirmed: []state.DeliveryRef{{Account: mail.AccountID{1}, Transaction: mail.TransactionID{0xaa}, Number: 1}},
		InDoubt:   []state.DeliveryRef{{Account: mail.AccountID{2}, Transaction: mail.TransactionID{0xbb}, Number: 2}},
	}
}

func exampleDone() Response {
	return Response{Status: Done, Epoch: 7, Results: []Result{
		{Number: 0, UIDValidity: 17, UID: 42},
		{Number: 3, Code: state.OverQuota},
		{Number: 4, Duplicate: true, UIDValidity: 17, UID: 41},
	}}
}

// examples are the octets that docs/protocol/deliver.md shows.
func examples() []struct {
	name   string
	octets []byte
} {
	q, s, done := exampleRequest(), exampleSettle(), exampleDone()
	moved := Response{Status: Moved, Epoch: 8, Master: "m2"}
	failed := Response{Status: Failed, Text: "why"}
	return []struct {
		name   string
		octets []byte
	}{
		{"deliver", append(q.appendHead(nil), q.Octets...)},
		{"settle", s.append(nil)},
		{"probe", (&probe{"s01", 7}).append(nil)},
		{"done", done.append(nil)},
		{"moved", moved.append(nil)},
		{"failed", failed.append(nil)},
	}
}

func TestWireFormIsTheDocumentedOne(t *testing.T) {
	var got strings.Builder
	for _, e := range examples() {
		fmt.Fprintf(&got, "%-8s %s\n", e.name, hex.EncodeToString(e.octets))
	}
	const file, page = "testdata/wire.golden", "../../docs/protocol/deliver.md"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(golden) {
		t.Errorf("the wire form changed:\n%s\nwant\n%s", got.String(), golden)
	}
	doc, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(golden)) {
		if !strings.Contains(string(doc), l) {
			t.Errorf("%s does not show: %s", page, l)
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	q := exampleRequest()
	r := reader{b: append(q.appendHead(nil), q.Octets...)[2:]}
	got := r.request()
	if diff := cmp.Diff(q, got, cmp.AllowUnexported(Request{}), cmpopts.EquateEmpty()); r.bad || diff != "" {
		t.Errorf("request: bad %v\n%s", r.bad, diff)
	}
	s := exampleSettle()
	r = reader{b: s.append(nil)[2:]}
	if got := r.settle(); !r.end() || cmp.Diff(s, got) != "" {
		t.Errorf("settle: %+v, bad %v", got, r.bad)
	}
	want := exampleDone()
	resp, err := decodeResponse(want.append(nil))
	if diff := cmp.Diff(want, resp); err != nil || diff != "" {
		t.Errorf("response: %v\n%s", err, diff)
	}
}

// TestARequestKeepsNothingOfItsBuffer: an operation holds the recipients until it
// is applied, and a request's memory is used again before.
func TestARequestKeepsNothingOfItsBuffer(t *testing.T) {
	q := exampleRequest()
	b := append(q.appendHead(nil), q.Octets...)
	r := reader{b: b[2:]}
	got := r.request()
	for i := range b {
		b[i] = 0xff
	}
	if diff := cmp.Diff(q.Recipients, got.Recipients, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("recipients changed with the buffer:\n%s", diff)
	}
}

// TestEveryCutAndExcessIsRefused: every response and settle is of one length.
func TestEveryCutAndExcessIsRefused(t *testing.T) {
	done, s := exampleDone(), exampleSettle()
	whole := done.append(nil)
	for n := range whole {
		if _, err := decodeResponse(whole[:n]); !errors.Is(err, errWire) {
			t.Errorf("response of %d of %d octets: %v", n, len(whole), err)
		}
	}
	if _, err := decodeResponse(append(whole, 0)); !errors.Is(err, errWire) {
		t.Errorf("response with an octet too many: %v", err)
	}
	h := Handler{}
	for _, b := range [][]byte{s.append(nil), (&probe{"s01", 7}).append(nil)} {
		for n := range b {
			if _, err := h.Handle(t.Context(), b[:n]); !errors.Is(err, errWire) {
				t.Errorf("%x, %d octets: %v", b[:2], n, err)
			}
		}
		if _, err := h.Handle(t.Context(), append(b, 0)); !errors.Is(err, errWire) {
			t.Errorf("%x with an octet too many: %v", b[:2], err)
		}
	}
	q := exampleRequest()
	head := q.appendHead(nil)
	for n := range head {
		if _, err := h.Handle(t.Context(), head[:n]); !errors.Is(err, errWire) {
			t.Errorf("request of %d of %d octets: %v", n, len(head), err)
		}
	}
}

func TestImpossibleValuesAreRefused(t *testing.T) {
	many := exampleRequest()
	many.Recipients = make([]state.Recipient, MaxRecipients+1)
	none := exampleRequest()
	none.Recipients = nil
	long := exampleRequest()
	long.Recipients[0].Prefix = make([]byte, MaxPrefix+1)
	nameless := exampleRequest()
	nameless.Store = ""
	refs := Settle{Store: "s01", Confirmed: make([]state.DeliveryRef, MaxRefs), InDoubt: make([]state.DeliveryRef, 1)}
	later := exampleRequest()
	other := later.appendHead(nil)
	other[0]++
	h := Handler{}
	for name, b := range map[string][]byte{
		"too many recipients": many.appendHead(nil), "no recipient": none.appendHead(nil), "long prefix": long.appendHead(nil),
		"no store": nameless.appendHead(nil), "too many references": refs.append(nil),
		"another version": other, "another kind": {version, 99}, "nothing": {},
	} {
		if _, err := h.Handle(t.Context(), b); !errors.Is(err, errWire) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Response){
		"unknown status": func(r *Response) { r.Status = lastStatus },
		"unknown code":   func(r *Response) { r.Results[0].Code = lastCode + 1 },
	} {
		r := exampleDone()
		change(&r)
		if _, err := decodeResponse(r.append(nil)); !errors.Is(err, errWire) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryCodeOfTheStateTravels: a code that is added there is let through here.
func TestEveryCodeOfTheStateTravels(t *testing.T) {
	isCode := func(c state.Code) (ok bool) {
		defer func() { ok = recover() == nil }()
		_ = c.Err()
		return
	}
	if !isCode(lastCode) || isCode(lastCode+1) {
		t.Errorf("code %d is not the state's last", lastCode)
	}
}

// FuzzHandle: any octets are a request that writes back to the same octets, or
// are refused.
func FuzzHandle(f *testing.F) {
	for _, e := range examples() {
		f.Add(e.octets)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := reader{b: in}
		if v := r.u8(); v != version {
			return
		}
		var back []byte
		switch r.u8() {
		case kindDeliver:
			if q := r.request(); !r.bad {
				back = append(q.appendHead(nil), q.Octets...)
			}
		case kindSettle:
			if s := r.settle(); r.end() {
				back = s.append(nil)
			}
		case kindProbe:
			if p := r.probe(); r.end() {
				back = p.append(nil)
			}
		}
		if back != nil && !bytes.Equal(back, in) {
			t.Errorf("read %x\nwrote %x", in, back)
		}
	})
}

// FuzzResponse: likewise.
func FuzzResponse(f *testing.F) {
	for _, e := range examples() {
		f.Add(e.octets)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		resp, err := decodeResponse(in)
		if err != nil {
			if !errors.Is(err, errWire) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		for _, r := range resp.Results {
			_ = r.Code.Err()
		}
		if back := resp.append(nil); !bytes.Equal(back, in) {
			t.Errorf("read %x\nwrote %x", in, back)
		}
	})
}
