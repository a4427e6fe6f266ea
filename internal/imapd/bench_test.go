package imapd

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
	"github.com/tandemail/tandemail/internal/session"
)

// counter is a sink that only counts.
type counter struct{ octets, units int64 }

func (c *counter) Unit(_ context.Context, u session.Unit) error {
	c.octets += int64(len(u.Octets))
	c.units++
	return nil
}

func (c *counter) Stream(_ context.Context, _ session.Stream, r io.Reader) error {
	n, err := io.Copy(io.Discard, r)
	c.octets += n
	return err
}

func (c *counter) Done(context.Context, session.Done) error { return nil }

const benchMessages = 50_000

var (
	benchOnce sync.Once
	benchTwin *mailtest.Account
)

// benchAccount has benchMessages messages in INBOX, with what is derived of them
// cached as far as the twin keeps it.
func benchAccount(b *testing.B) *mailtest.Account {
	benchOnce.Do(func() { benchTwin = fillBench(b) })
	return benchTwin
}

func fillBench(b *testing.B) *mailtest.Account {
	a := newAccount(b)
	d := newDirect(b, a, 1)
	for i := 0; i < benchMessages; i += 500 {
		command := "APPEND INBOX"
		for j := range 500 {
			m := fmt.Sprintf("From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: number %d\r\n"+
				"Date: Mon, 2 Mar 2026 10:00:00 +0100\r\nMessage-ID: <%d@example.org>\r\n"+
				"References: <%d@example.org>\r\n\r\nhello\r\n", i+j, i+j, (i+j)/3)
			command += fmt.Sprintf(" {%d+}\r\n%s", len(m), m)
		}
		d.ok("%s", command)
	}
	return a
}

func benchCommand(b *testing.B, command string) {
	c := new(counter)
	s := New(Config{Account: benchAccount(b), Session: mail.SessionID{7}, Sink: c, Now: testNow})
	number := uint64(0)
	run := func(command string) {
		number++
		if err := s.Execute(b.Context(), Command{Number: number, Raw: raw(b, command)}); err != nil {
			b.Fatal(err)
		}
	}
	run("a EXAMINE INBOX")
	run(command)
	*c = counter{}
	b.ReportAllocs()
	for b.Loop() {
		run(command)
	}
	b.ReportMetric(float64(c.octets)/float64(b.N)/benchMessages, "octets/message")
	b.ReportMetric(float64(c.units)/float64(b.N), "units/op")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchMessages, "ns/message")
}

func BenchmarkSelect50k(b *testing.B)        { benchCommand(b, "a EXAMINE INBOX") }
func BenchmarkFetchFlags50k(b *testing.B)    { benchCommand(b, "a FETCH 1:* FLAGS") }
func BenchmarkFetchEnvelope50k(b *testing.B) { benchCommand(b, "a UID FETCH 1:* (FLAGS ENVELOPE)") }
func BenchmarkSearchUnseen50k(b *testing.B)  { benchCommand(b, "a UID SEARCH UNSEEN") }
func BenchmarkSearchKeyword50k(b *testing.B) { benchCommand(b, "a UID SEARCH KEYWORD $Junk") }
func BenchmarkSearchSubject50k(b *testing.B) { benchCommand(b, "a UID SEARCH SUBJECT \"number 499\"") }

func BenchmarkSearchSent50k(b *testing.B) { benchCommand(b, "a UID SEARCH SENTSINCE 2-Mar-2026") }
func BenchmarkSearchBody50k(b *testing.B) { benchCommand(b, "a UID SEARCH BODY nothing") }
func BenchmarkSearchText50k(b *testing.B) { benchCommand(b, "a UID SEARCH TEXT nothing") }

func BenchmarkSort50k(b *testing.B) {
	for _, key := range []string{
		"ARRIVAL", "CC", "DATE", "DISPLAYFROM", "DISPLAYTO", "FROM", "SIZE", "SUBJECT", "TO", "REVERSE SUBJECT DATE",
	} {
		b.Run(key, func(b *testing.B) { benchCommand(b, "a UID SORT ("+key+") UTF-8 ALL") })
	}
}

func BenchmarkThread50k(b *testing.B) {
	for _, by := range []string{"ORDEREDSUBJECT", "REFERENCES", "REFS"} {
		b.Run(by, func(b *testing.B) { benchCommand(b, "a UID THREAD "+by+" UTF-8 ALL") })
	}
}

func BenchmarkNoop(b *testing.B) { benchCommand(b, "a NOOP") }
