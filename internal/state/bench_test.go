package state

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// chaCha is a seeded source of octets.
type chaCha struct{ *rand.ChaCha8 }

func newBuilder(seed byte, now func() time.Time) *Builder {
	return &Builder{
		Rand: chaCha{rand.NewChaCha8([32]byte{seed})}, Now: now, Level: func() cluster.Level { return cluster.CurrentLevel },
		RecordSize: func(payload int) int { return 7 + payload },
	}
}

var testTime = time.Unix(1_700_000_000, 0)

// BenchmarkDeliver is what every copy does for a delivery: decode and apply.
func BenchmarkDeliver(b *testing.B) {
	const accounts = 100
	build := newBuilder(1, func() time.Time { return testTime })
	kv := NewMapKV()
	for i := range accounts {
		p, err := build.CreateAccount(mail.Actor{}, mail.AccountID{byte(i)}, NewAccount{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Apply(kv, 1, cluster.CurrentLevel, p.Op); err != nil {
			b.Fatal(err)
		}
	}
	var encoded [][]byte
	for i := range 2000 {
		st, err := NewStager(nil).Stage(context.Background(), strings.NewReader(fmt.Sprintf(
			"Message-ID: <%d@x>\nReferences: <%d@x> <%d@x>\nSubject: hello\n\nbody\n", i, i/2, i/3)), 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		p, err := build.Deliver(Delivery{
			Transaction: mail.TransactionID{byte(i), byte(i >> 8)},
			Actor:       mail.Actor{Remote: "192.0.2.1", Command: "LMTP", QueueID: "4Z0000"},
			Body:        st,
			Recipients: []Recipient{{
				Account: mail.AccountID{byte(i % accounts)}, ContentKey: st.SHA256(),
				Prefix: []byte("Return-Path: <a@example.org>\r\nDelivered-To: b@example.org\r\n" + strings.Repeat("Received: x\r\n", 10)),
			}},
		})
		if err != nil {
			b.Fatal(err)
		}
		encoded = append(encoded, p.Encoded)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		op, err := operation.Decode(encoded[i%len(encoded)])
		if err != nil {
			b.Fatal(err)
		}
		// Another round of the same operations is another set of transactions.
		op.GetDeliver().Transaction[15] = byte(i / len(encoded))
		op.GetDeliver().Transaction[14] = byte(i / len(encoded) >> 8)
		op.GetDeliver().Recipients[0].ContentKey[15] ^= byte(i / len(encoded))
		out, err := Apply(kv, cluster.LSN(1_000_000+i*1000), cluster.CurrentLevel, op)
		if err != nil || out.Recipients[0].Code != Done || out.Recipients[0].Repeated {
			b.Fatal(out, err)
		}
	}
}

// BenchmarkAllFlags is FETCH 1:* (FLAGS) of 50,000 messages.
func BenchmarkAllFlags(b *testing.B) {
	kv, id, box := filled(b, 50_000)
	v, err := NewView(kv, id, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range v.Flags(box, 1, 1<<32-1, 0) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 50_000 {
			b.Fatal(n)
		}
	}
}

// filled is an account with n messages in INBOX.
func filled(tb testing.TB, n int) (*MapKV, mail.AccountID, mail.MailboxID) {
	tb.Helper()
	build := newBuilder(2, func() time.Time { return testTime })
	kv, id, at := NewMapKV(), mail.AccountID{1}, cluster.LSN(1<<20)
	p, err := build.CreateAccount(mail.Actor{}, id, NewAccount{})
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := Apply(kv, at, cluster.CurrentLevel, p.Op); err != nil {
		tb.Fatal(err)
	}
	acc, _, err := readAccount(kv, id)
	if err != nil {
		tb.Fatal(err)
	}
	st, err := NewStager(nil).Stage(context.Background(), strings.NewReader("Subject: x\n\n"), 100)
	if err != nil {
		tb.Fatal(err)
	}
	for range n {
		at += 1000
		p, err := build.Propose(id, mail.Request{Op: mail.Append{
			Mailbox: acc.inbox, Messages: []mail.NewMessage{{Body: st, Flags: mail.Seen}},
		}})
		if err != nil {
			tb.Fatal(err)
		}
		if out, err := Apply(kv, at, cluster.CurrentLevel, p.Op); err != nil || out.Code != Done {
			tb.Fatal(out, err)
		}
	}
	return kv, id, acc.inbox
}
