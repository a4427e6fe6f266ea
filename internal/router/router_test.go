package router

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/deliver"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/lmtpd"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

func TestRecipientsAreAnsweredByTheirKind(t *testing.T) {
	inBench(t, addresses{"nobody@x": {}}, func(b *bench) {
		m := b.dial()
		m.say("MAIL FROM:<from@y>", "250")
		for to, want := range map[string]string{
			"anna1@x": "250", "unknown@y": "550 5.1.1", "bad@": "553 5.1.3", "later@x": "451", "nobody@x": "451",
		} {
			m.say("RCPT TO:<"+to+">", want)
		}
		m.conn.Close()
	})
}

func TestEveryOutcomeHasItsReply(t *testing.T) {
	for name, c := range map[string]struct {
		code state.Code
		err  error
		want string
	}{
		"stored":              {want: "250 2.0.0 <anna1@x> stored, transaction abab"},
		"over quota":          {code: state.OverQuota, want: "452 4.2.2"},
		"too large with ours": {code: state.Limit, want: "552 5.3.4"},
		"account not there":   {code: state.NoAccount, want: "451 4.3.0 mailbox is not ready"},
		"no mailbox":          {code: state.NoMailbox, want: "451 4.3.0 mailbox is not ready"},
		"being moved":         {code: state.Frozen, want: "451 4.3.2"},
		"held in vain":        {err: fmt.Errorf("hold: %w", mail.ErrBusy), want: "451 4.3.2"},
		"nobody knows":        {err: fmt.Errorf("lost: %w", mail.ErrUnknown), want: "451 4.3.0 not known"},
		"disk full":           {err: mail.ErrFull, want: "452 4.3.1"},
		"a bug":               {err: errStore, want: "451 4.3.0 temporary"},
	} {
		inBench(t, nil, func(b *bench) {
			b.stores.refuse = func(_ context.Context, q deliver.Request) ([]deliver.Result, error) {
				return codes(q, c.code), c.err
			}
			m := b.dial()
			t.Log(name)
			m.send("Subject: x\r\n\r\n", []string{"anna1@x"}, c.want)
			m.say("NOOP", "250") // the connection goes on
			m.conn.Close()
		})
	}
}

// TestAStoreThatAnswersForTooFewFails: it must not become a success for anybody.
func TestAStoreThatAnswersForTooFewFails(t *testing.T) {
	inBench(t, nil, func(b *bench) {
		b.stores.refuse = func(_ context.Context, q deliver.Request) ([]deliver.Result, error) { return codes(q)[:1], nil }
		m := b.dial()
		m.send("x", []string{"anna1@x", "ben1@x"}, "451", "451")
		m.conn.Close()
	})
}

func TestOneBadStoreOrPanicLeavesTheOthers(t *testing.T) {
	inBench(t, nil, func(b *bench) {
		b.stores.refuse = func(_ context.Context, q deliver.Request) ([]deliver.Result, error) {
			switch q.Store {
			case "s2":
				return nil, errStore
			case "s3":
				panic("boom")
			}
			return nil, nil
		}
		m := b.dial()
		m.send("x", []string{"anna1@x", "ben2@x", "carl3@x", "dora4@x"}, "250", "451", "451", "250")
		m.say("NOOP", "250")
		m.conn.Close()
	})
}

// TestOneRequestAStore: one body however many recipients, each with its number.
func TestOneRequestAStore(t *testing.T) {
	inBench(t, addresses{"all@x": {"anna1", "ben2"}}, func(b *bench) {
		m := b.dial()
		m.send("x", []string{"carl1@x", "all@x", "dora1@x"}, "250", "250", "250")
		m.conn.Close()
		if len(b.stores.requests) != 2 {
			t.Fatalf("%d requests", len(b.stores.requests))
		}
		got := map[cluster.Store]string{}
		for _, q := range b.stores.requests {
			for _, r := range q.Recipients {
				got[q.Store] += fmt.Sprintf("%c%d ", r.Account[0], r.Number)
			}
		}
		if got["s1"] != "c0 a1 d3 " || got["s2"] != "b2 " {
			t.Errorf("recipients %v", got)
		}
	})
}

func TestLargeAliasIsSentInParts(t *testing.T) {
	names := make([]string, deliver.MaxRecipients+1)
	for i := range names {
		names[i] = "anna1"
	}
	inBench(t, addresses{"all@x": names}, func(b *bench) {
		m := b.dial()
		m.send("x", []string{"all@x"}, "250")
		m.conn.Close()
		if n := len(b.stores.requests); n != 2 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestATransactionLeadsToABoundedNumberOfUsers(t *testing.T) {
	inBench(t, addresses{"all@x": make([]string, 0), "some@x": slices.Repeat([]string{"anna1"}, maxUsers/2)}, func(b *bench) {
		m := b.dial()
		m.say("MAIL FROM:<>", "250")
		m.say("RCPT TO:<some@x>", "250")
		m.say("RCPT TO:<some@x>", "250")
		m.say("RCPT TO:<anna1@x>", "452 4.5.3")
		m.say("RSET", "250")
		m.say("MAIL FROM:<>", "250")
		m.say("RCPT TO:<anna1@x>", "250")
		m.conn.Close()
	})
}

func TestWhatTheMTAHasSeenIsConfirmed(t *testing.T) {
	inBench(t, nil, func(b *bench) {
		m := b.dial()
		m.send("x", []string{"anna1@x", "ben2@x"}, "250", "250")
		m.say("NOOP", "250")
		if got := b.stores.told(); len(got) != 0 {
			t.Errorf("told at once: %v", got)
		}
		<-time.After(settleEvery)
		synctest.Wait()
		if got, want := b.stores.told(), []string{"c s1 a0", "c s2 b1"}; !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
		m.conn.Close()
	})
}

// TestWhatTheMTAMayNotHaveSeenIsInDoubtAtOnce: it may come back the next moment.
func TestWhatTheMTAMayNotHaveSeenIsInDoubtAtOnce(t *testing.T) {
	inBench(t, nil, func(b *bench) {
		m := b.dial()
		m.send("x", []string{"anna1@x"}, "250")
		m.conn.Close()
		synctest.Wait()
		if got, want := b.stores.told(), []string{"d s1 a0"}; !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
	})
}

// TestAliasThatFailsForOneIsInDoubtForTheOthers: the MTA sends it again to all, and
// those who have it must not get it twice.
func TestAliasThatFailsForOneIsInDoubtForTheOthers(t *testing.T) {
	inBench(t, addresses{"all@x": {"anna1", "ben2", "carl3"}}, func(b *bench) {
		b.stores.refuse = func(_ context.Context, q deliver.Request) ([]deliver.Result, error) {
			switch q.Store {
			case "s2":
				return nil, mail.ErrBusy
			case "s3":
				return nil, mail.ErrUnknown
			}
			return nil, nil
		}
		m := b.dial()
		m.send("x", []string{"all@x", "dora1@x"}, "451", "250")
		m.say("NOOP", "250")
		<-time.After(settleEvery)
		synctest.Wait()
		if got, want := b.stores.told(), []string{"c s1 d3", "d s1 a0", "d s3 c2"}; !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
		m.conn.Close()
	})
}

// TestATemporaryFailureOfAnAliasWinsOverAPermanentOne: else those who could have
// the message never get it.
func TestATemporaryFailureOfAnAliasWinsOverAPermanentOne(t *testing.T) {
	inBench(t, addresses{"all@x": {"anna1", "ben2"}}, func(b *bench) {
		var temporary atomic.Bool
		temporary.Store(true)
		b.stores.refuse = func(_ context.Context, q deliver.Request) ([]deliver.Result, error) {
			if q.Store == "s2" && temporary.Load() {
				<-time.After(time.Second) // the later one
				return nil, mail.ErrBusy
			}
			return codes(q, state.Limit), nil
		}
		m := b.dial()
		m.send("x", []string{"all@x"}, "451")
		temporary.Store(false)
		m.send("x", []string{"all@x"}, "552")
		m.conn.Close()
	})
}

func TestHoldIsBounded(t *testing.T) {
	inBench(t, nil, func(b *bench) {
		b.stores.refuse = func(ctx context.Context, _ deliver.Request) ([]deliver.Result, error) {
			<-ctx.Done()
			return nil, fmt.Errorf("hold: %w", mail.ErrBusy)
		}
		m := b.dial()
		for octets, want := range map[int]time.Duration{1: 8 * time.Second, 2 << 20: 10 * time.Second} { // a large one has more
			start := time.Now()
			m.send(strings.Repeat("x", octets), []string{"anna1@x"}, "451")
			if time.Since(start) != want {
				t.Errorf("%d octets are answered after %v, want %v", octets, time.Since(start), want)
			}
		}
		m.conn.Close()
	})
}

// TestLargeMessagesShareTheirMemory: one that finds no room waits, and is told to
// come back.
func TestLargeMessagesShareTheirMemory(t *testing.T) {
	inBench(t, nil, func(b *bench) {
		gate := make(chan struct{})
		b.stores.refuse = func(_ context.Context, q deliver.Request) ([]deliver.Result, error) {
			if q.Store == "s1" {
				<-gate
			}
			return nil, nil
		}
		large := strings.Repeat(strings.Repeat("x", 998)+"\r\n", 2<<10)
		first, second := b.dial(), b.dial()
		done := make(chan struct{})
		go func() { defer close(done); first.send(large, []string{"anna1@x"}, "250") }()
		synctest.Wait()
		second.send("small", []string{"ben2@x"}, "250")
		second.send(large, []string{"ben2@x"}, "452 4.3.1")
		close(gate)
		<-done
		second.send(large, []string{"ben2@x"}, "250")
		for _, q := range b.stores.requests {
			if len(q.Octets) > 10 && string(q.Octets) != large+"\r\n" {
				t.Errorf("%d octets arrived of %d", len(q.Octets), len(large))
			}
		}
		first.conn.Close()
		second.conn.Close()
	})
}

// TestASlowStoreIsToldLaterAndOthersNow: what fails is told again, and nothing twice.
func TestASlowStoreIsToldLaterAndOthersNow(t *testing.T) {
	inBench(t, nil, func(b *bench) {
		fails := 2
		b.stores.unsettled = func(q deliver.Settle) error {
			if q.Store == "s1" && fails > 0 {
				fails--
				return errStore
			}
			return nil
		}
		m := b.dial()
		m.send("x", []string{"anna1@x", "ben2@x"}, "250", "250")
		m.say("NOOP", "250")
		<-time.After(settleEvery)
		synctest.Wait()
		if got := b.stores.told(); !slices.Equal(got, []string{"c s2 b1"}) {
			t.Errorf("told %v", got)
		}
		<-time.After(2 * settleEvery)
		synctest.Wait()
		if got := b.stores.told(); !slices.Equal(got, []string{"c s1 a0", "c s2 b1"}) {
			t.Errorf("told %v", got)
		}
		m.conn.Close()
	})
}

// TestShutdownTellsWhatIsLeft, also what a session leaves only when the server
// closes it.
func TestShutdownTellsWhatIsLeft(t *testing.T) {
	inBench(t, nil, func(b *bench) {
		m := b.dial()
		m.send("x", []string{"anna1@x"}, "250")
		go func() {
			buf := make([]byte, 512)
			for {
				if _, err := m.conn.Read(buf); err != nil {
					return
				}
			}
		}()
		b.stop()
		if got := b.stores.told(); !slices.Equal(got, []string{"d s1 a0"}) {
			t.Errorf("told %v", got)
		}
	})
}

func TestUnsettledIsBounded(t *testing.T) {
	u := unsettled{}
	for i := range uint32(settleMost + 7) {
		u.add(state.DeliveryRef{Number: i}, i%2 == 0)
	}
	if n := len(u.Confirmed) + len(u.InDoubt); n != settleMost || u.dropped != 7 {
		t.Errorf("%d wait, %d dropped", n, u.dropped)
	}
	seen := 0
	for !u.empty() {
		part := u.cut()
		n := len(part.Confirmed) + len(part.InDoubt)
		if n == 0 || n > deliver.MaxRefs {
			t.Fatalf("a part of %d", n)
		}
		if seen == 0 {
			u.putBack(part)
			part = u.cut()
			if len(part.InDoubt) == 0 || part.InDoubt[0].Number != 1 {
				t.Errorf("order changed: %+v", part.InDoubt[0])
			}
		}
		seen += n
	}
	if seen != settleMost {
		t.Errorf("cut %d of %d", seen, settleMost)
	}
}

func TestPrefixNamesTheRecipientAndTheWay(t *testing.T) {
	inBench(t, addresses{"Team+x@x": {"anna1", "ben1"}}, func(b *bench) {
		m := b.dial()
		m.say("XFORWARD IDENT=4Q(x)", "250")
		m.say(`MAIL FROM:<"odd (one)"@y> SMTPUTF8`, "250")
		m.say("RCPT TO:<Team+x@x>", "250")
		m.say("DATA", "354")
		m.say("Subject: x\r\n\r\nbody\r\n.", "250")
		m.conn.Close()
		for i, user := range []string{"anna1@x", "ben1@x"} {
			want := "Return-Path: <\"odd (one)\"@y>\r\nDelivered-To: " + user + "\r\n" +
				"Received: from mta.example ([IPv6:2001:db8::7])\r\n\tby m1 (Tandemail) with UTF8LMTP id abababababababababababababababab\r\n\t(queue 4Q?x?)\r\n" +
				"\tfor <Team+x@x>; " + time.Now().Format(time.RFC1123Z) + "\r\n"
			if got := string(b.stores.requests[0].Recipients[i].Prefix); got != want {
				t.Errorf("prefix\n%swant\n%s", got, want)
			}
		}
		if got := string(b.stores.requests[0].Octets); got != "Subject: x\r\n\r\nbody\r\n" {
			t.Errorf("octets %q", got)
		}
	})
}

// TestPrefixStaysAHeader whatever a peer or a directory gives.
func TestPrefixStaysAHeader(t *testing.T) {
	evil := "a\r\nX: y\x00\x7f" + strings.Repeat("ü(", 3000) + "\xff\r\n\r\n"
	for _, remote := range []string{"192.0.2.1", "@", "", evil} {
		s := &session{router: New(Config{Machine: "m1"}), from: evil, remote: remote}
		s.params = lmtpd.MailParams{Helo: evil, Forward: lmtpd.XForward{Ident: evil}}
		p := prefixer{t: &transaction{session: s}, date: time.Time{}.Format(dateForm)}
		b := p.prefix(evil, evil)
		lines := strings.Split(string(b), "\r\n")
		if len(lines) != 7 || lines[6] != "" {
			t.Fatalf("%d lines: %q", len(lines), b)
		}
		for i, begin := range []string{"Return-Path: <", "Delivered-To: ", "Received: from ", "\tby m1 ", "\t(queue ", "\tfor <"} {
			if !strings.HasPrefix(lines[i], begin) || len(lines[i]) > 998 || bytes.ContainsAny([]byte(lines[i]), "\r\n\x00\x7f") {
				t.Errorf("line of %d octets: %q", len(lines[i]), lines[i])
			}
		}
	}
}

// TestContentKeyNeverChanges: stores compare it with keys of earlier releases.
func TestContentKeyNeverChanges(t *testing.T) {
	sum := sha256.Sum256([]byte("Subject: x\r\n\r\n"))
	u := directory.User{Account: mail.AccountID{1, 2, 3}}
	key := contentKey("from@y", "to@x", u, sum)
	if got := hex.EncodeToString(key[:]); got != "ebebe81eaad3567b99a5c9146b86d504569d6a0bcf18aa54087139e14c598166" {
		t.Errorf("key %s", got)
	}
	for name, other := range map[string][32]byte{
		"another sender":    contentKey("from@z", "to@x", u, sum),
		"another recipient": contentKey("from@y", "To@x", u, sum),
		"shifted border":    contentKey("from@yto@x", "", u, sum),
		"another user":      contentKey("from@y", "to@x", directory.User{Account: mail.AccountID{4}}, sum),
		"other octets":      contentKey("from@y", "to@x", u, [32]byte{}),
	} {
		if other == key {
			t.Errorf("%s has the same key", name)
		}
	}
}

func TestEveryOutcomeIsCountedAndOneLineInTheLog(t *testing.T) {
	inBench(t, nil, func(b *bench) {
		b.stores.refuse = func(_ context.Context, q deliver.Request) ([]deliver.Result, error) {
			r := codes(q, state.Done, state.Done, state.Limit, state.NoAccount)
			r[1].Duplicate = true
			return r, nil
		}
		m := b.dial()
		m.send("x", []string{"anna1@x", "ben1@x", "carl1@x", "dora1@x"}, "250", "250", "552", "451")
		m.conn.Close()
		synctest.Wait()
		for _, want := range []string{
			"level=INFO msg=delivery status=delivered transaction=abababababababababababababababab queue=\"\" from=from@y user=anna1@x store=s1 uid=1 size=3",
			"level=INFO msg=delivery status=duplicate",
			"level=INFO msg=delivery status=refused",
			"level=WARN msg=delivery status=deferred",
		} {
			if n := strings.Count(b.log.String(), want); n != 1 {
				t.Errorf("%d lines with %q in\n%s", n, want, b.log)
			}
		}
		for status, n := range b.router.Stats().Deliveries {
			if n != 1 {
				t.Errorf("%d deliveries are counted as %s", n, status)
			}
		}
	})
}
