package imapd

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/tandemail/tandemail/internal/imapwire/imaptest"
)

const sample = "From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: hello\r\n" +
	"Message-ID: <one@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" +
	"--x\r\nContent-Type: text/plain\r\n\r\nhi there\r\n--x\r\nContent-Type: image/png\r\n\r\n....\r\n--x--\r\n"

// TestAnotherImplementationUnderstandsUs is a session of go-imap's client.
func TestAnotherImplementationUnderstandsUs(t *testing.T) {
	var expunged []uint32
	c := imapclient.New(dial(t, newAccount(t), 1, true), &imapclient.Options{
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{
			Expunge: func(n uint32) { expunged = append(expunged, n) },
		},
	})
	defer c.Close()
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	check("greeting", c.WaitGreeting())
	_, err := c.Enable(imap.CapUTF8Accept).Wait()
	check("ENABLE", err)
	check("CREATE", c.Create("Wiese/Grün", nil).Wait())
	for i := range 3 {
		a := c.Append("INBOX", int64(len(sample)), &imap.AppendOptions{
			Flags: []imap.Flag{imap.FlagFlagged, "$Work"}, Time: time.Unix(1_700_000_000, 0),
		})
		_, err = io.WriteString(a, sample)
		check("write APPEND", err)
		check("close APPEND", a.Close())
		data, err := a.Wait()
		check("APPEND", err)
		if data.UID != imap.UID(i+1) || data.UIDValidity == 0 {
			t.Errorf("APPENDUID %+v", data)
		}
	}
	box, err := c.Select("INBOX", &imap.SelectOptions{CondStore: true}).Wait()
	check("SELECT", err)
	if box.NumMessages != 3 || box.UIDNext != 4 || box.HighestModSeq == 0 {
		t.Errorf("SELECT %+v", box)
	}
	messages, err := c.Fetch(imap.SeqSetNum(1, 3), &imap.FetchOptions{
		UID: true, Flags: true, Envelope: true, InternalDate: true, RFC822Size: true, ModSeq: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
		BodySection:   []*imap.FetchItemBodySection{{}, {Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"Subject"}}},
	}).Collect()
	check("FETCH", err)
	if len(messages) != 2 {
		t.Fatalf("FETCH gave %d messages", len(messages))
	}
	m := messages[1]
	if m.UID != 3 || m.Envelope.Subject != "hello" || m.Envelope.From[0].Addr() != "ann@example.org" ||
		m.RFC822Size != int64(len(sample)) || m.InternalDate.Unix() != 1_700_000_000 || m.ModSeq == 0 {
		t.Errorf("FETCH %+v", m)
	}
	if len(m.BodySection) != 2 || string(m.BodySection[0].Bytes) != sample {
		t.Errorf("sections %+v", m.BodySection)
	}
	if s, ok := m.BodyStructure.(*imap.BodyStructureMultiPart); !ok || len(s.Children) != 2 || s.Children[1].MediaType() != "image/png" {
		t.Errorf("BODYSTRUCTURE %+v", m.BodyStructure)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{
		Body: []string{"HI there"}, Flag: []imap.Flag{"$Work"}, NotFlag: []imap.Flag{imap.FlagDeleted},
	}, &imap.SearchOptions{ReturnAll: true, ReturnCount: true}).Wait()
	check("SEARCH", err)
	if found.Count != 3 || found.All.String() != "1:3" {
		t.Errorf("SEARCH %+v", found)
	}
	stored, err := c.Store(imap.UIDSetNum(1, 2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Collect()
	check("STORE", err)
	if len(stored) != 2 {
		t.Errorf("STORE %+v", stored)
	}
	copied, err := c.Copy(imap.UIDSetNum(1, 3), "Wiese/Grün").Wait()
	check("COPY", err)
	if copied.SourceUIDs.String() != "1,3" || copied.DestUIDs.String() != "1:2" {
		t.Errorf("COPY %+v", copied)
	}
	moved, err := c.Move(imap.UIDSetNum(3), "Archive").Wait()
	check("MOVE", err)
	if moved == nil || moved.SourceUIDs.(imap.UIDSet).String() != "3" {
		t.Errorf("MOVE %+v", moved)
	}
	gone, err := c.Expunge().Collect()
	check("EXPUNGE", err)
	if len(gone) != 2 || gone[0] != 2 || gone[1] != 1 {
		t.Errorf("EXPUNGE %v", gone)
	}
	names, err := c.List("", "*", &imap.ListOptions{
		ReturnSpecialUse: true, ReturnStatus: &imap.StatusOptions{NumMessages: true, NumUnseen: true, UIDNext: true},
	}).Collect()
	check("LIST", err)
	for _, n := range names {
		if n.Mailbox == "Wiese/Grün" && *n.Status.NumMessages != 2 {
			t.Errorf("LIST %+v %+v", n, n.Status)
		}
	}
	if len(names) != 8 {
		t.Errorf("LIST gave %d names", len(names))
	}
	_, err = c.Namespace().Wait()
	check("NAMESPACE", err)
	idle, err := c.Idle()
	check("IDLE", err)
	check("DONE", idle.Close())
	check("IDLE", idle.Wait())
	check("UNSELECT", c.Unselect().Wait())
}

func TestClientForTestsFindsItsWay(t *testing.T) {
	c := imaptest.NewClient(t, dial(t, newAccount(t), 1, false))
	if tagged := c.Append("INBOX", sample); !strings.HasPrefix(tagged, "OK [APPENDUID ") {
		t.Errorf("APPEND: %s", tagged)
	}
	if lines := c.OK("SELECT INBOX"); len(lines) != 10 || lines[2] != "* 1 EXISTS" {
		t.Errorf("SELECT: %q", lines)
	}
	if _, tagged := c.Command("MOVE 1 INBOX"); !strings.HasPrefix(tagged, "OK ") {
		t.Errorf("MOVE onto itself: %s", tagged)
	}
	if lines := c.OK("UID SEARCH ALL"); lines[0] != "* SEARCH 2" {
		t.Errorf("after MOVE onto itself: %q", lines)
	}
}
