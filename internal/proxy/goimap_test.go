package proxy

import (
	"io"
	"strings"
	"testing"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// TestAnotherClientGetsWhatItAsksFor: go-imap knows the protocol from the RFCs and
// nothing from us.
func TestAnotherClientGetsWhatItAsksFor(t *testing.T) {
	r := newRig(t, nil)
	exists := make(chan uint32, 10)
	c := imapclient.New(r.conns.dial(), &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				exists <- *d.NumMessages
			}
		},
	}})
	t.Cleanup(func() { _ = c.Close() })
	ok := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	ok("log in", c.Login("ann", "secret").Wait())
	appendOne := func(c *imapclient.Client, text string) {
		t.Helper()
		a := c.Append("INBOX", int64(len(text)), &goimap.AppendOptions{Flags: []goimap.Flag{goimap.FlagFlagged}})
		_, err := io.WriteString(a, text)
		ok("append", err)
		ok("append", a.Close())
		data, err := a.Wait()
		ok("append", err)
		if data.UID == 0 {
			t.Error("no APPENDUID")
		}
	}
	appendOne(c, "Subject: one\r\n\r\nhello\r\n")
	appendOne(c, "Subject: two\r\n\r\nworld\r\n")
	box, err := c.Select("INBOX", nil).Wait()
	ok("select", err)
	if box.NumMessages != 2 {
		t.Errorf("%d messages", box.NumMessages)
	}

	body := &goimap.FetchItemBodySection{Peek: true}
	msgs, err := c.Fetch(goimap.SeqSetNum(1, 2), &goimap.FetchOptions{
		Envelope: true, Flags: true, UID: true, BodySection: []*goimap.FetchItemBodySection{body},
	}).Collect()
	ok("fetch", err)
	if len(msgs) != 2 || msgs[1].Envelope.Subject != "two" || !strings.HasSuffix(string(msgs[0].FindBodySection(body)), "hello\r\n") {
		t.Errorf("fetched %+v", msgs)
	}

	found, err := c.UIDSearch(&goimap.SearchCriteria{Body: []string{"world"}}, nil).Wait()
	ok("search", err)
	if got := found.AllUIDs(); len(got) != 1 || got[0] != 2 {
		t.Errorf("found %v", got)
	}

	_, err = c.Store(goimap.SeqSetNum(1), &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Flags: []goimap.Flag{goimap.FlagSeen}}, nil).Collect()
	ok("store", err)
	moved, err := c.Move(goimap.SeqSetNum(1), "Archive").Wait()
	ok("move", err)
	if moved == nil || moved.SourceUIDs == nil {
		t.Errorf("moved %+v", moved)
	}

	idle, err := c.Idle()
	ok("idle", err)
	for len(exists) > 0 {
		<-exists
	}
	other := imapclient.New(r.conns.dial(), nil)
	t.Cleanup(func() { _ = other.Close() })
	ok("log in", other.Login("ann", "secret").Wait())
	appendOne(other, "Subject: three\r\n")
	if n := <-exists; n != 2 {
		t.Errorf("told of %d messages", n)
	}
	ok("end idle", idle.Close())
	ok("idle", idle.Wait())
	ok("log out", c.Logout().Wait())
}
