package remote

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
)

// filled is an account over the internal port, on loopback, with n messages in INBOX.
func filled(b *testing.B, n int) (*Account, mail.MailboxID) {
	r := newRig(b)
	r.overLink()
	a := r.account()
	twin := r.twin.Account(a.id)
	v := look(b, twin)
	box := inbox(b, v).ID
	v.Close()
	text := strings.Repeat("Received: from a by b\r\n", 100)
	for done := 0; done < n; done += 100 {
		op := mail.Append{Mailbox: box}
		for i := range 100 {
			body, err := twin.Stage(context.Background(), strings.NewReader(fmt.Sprintf("%sSubject: %d\r\n\r\n", text, done+i)), 10_000)
			if err != nil {
				b.Fatal(err)
			}
			op.Messages = append(op.Messages, mail.NewMessage{Body: body})
		}
		if _, err := twin.Do(context.Background(), mail.Request{Op: op}); err != nil {
			b.Fatal(err)
		}
	}
	return a, box
}

// BenchmarkFlags: what a SELECT of 50,000 messages reads.
func BenchmarkFlags(b *testing.B) {
	const n = 50_000
	a, box := filled(b, n)
	for b.Loop() {
		v := look(b, a)
		got := 0
		for _, err := range v.Flags(box, 1, 1<<32-1, 0) {
			if err != nil {
				b.Fatal(err)
			}
			got++
		}
		if v.Close(); got != n {
			b.Fatalf("%d of %d", got, n)
		}
	}
}

// BenchmarkBodies: a FETCH of 1,000 messages of 2 KiB, one after the other.
func BenchmarkBodies(b *testing.B) {
	const n = 1_000
	a, box := filled(b, n)
	buf := make([]byte, 10_000)
	for b.Loop() {
		v := look(b, a)
		var list []mail.Message
		for m, err := range v.Messages(box, 1, 1<<32-1) {
			if err != nil {
				b.Fatal(err)
			}
			list = append(list, m)
		}
		for _, m := range list {
			c, err := v.Open(context.Background(), m)
			if err != nil {
				b.Fatal(err)
			}
			if got, err := c.ReadAt(buf, 0); int64(got) != m.Size || err != io.EOF {
				b.Fatal(got, err)
			}
			_ = c.Close()
		}
		v.Close()
	}
}
