package imapwire

import (
	"reflect"
	"testing"
)

// TestNotifyIsWrittenAsItWasRead: what a token keeps is what the client asked for.
func TestNotifyIsWrittenAsItWasRead(t *testing.T) {
	for _, text := range []string{
		"NONE",
		"SET (selected NONE)",
		"SET (selected-delayed (MessageNew (UID FLAGS BODY BODYSTRUCTURE PREVIEW (LAZY) BODY.PEEK[HEADER.FIELDS (To \"a b\")] " +
			"BODY[1.2.MIME]<5.10> BINARY.PEEK[1]<0.9> BINARY[2] BINARY.SIZE[1] RFC822.SIZE MODSEQ EMAILID) MessageExpunge FlagChange))",
		"SET (inboxes (MailboxName)) (personal (SubscriptionChange ServerMetadataChange)) (subscribed (MailboxMetadataChange))",
		"SET (subtree (INBOX \"Entw&APw-rfe\" {3+}\r\na\"b) (MessageNew MessageExpunge)) (mailboxes c NONE)",
	} {
		want := parseNotify(t, "a NOTIFY "+text+"\r\n")
		if got := parseNotify(t, string(AppendNotify(nil, want))); !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %+v\nwant %+v", text, got, want)
		}
	}
}

func parseNotify(t *testing.T, text string) *Notify {
	t.Helper()
	c := NewCollector(Limits{}, nil)
	for in := []byte(text); ; {
		n, step, err := c.Feed(in)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if in = in[n:]; step == Whole {
			break
		}
	}
	cmd, err := Parse(c.Take(), false)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return cmd.Args.(*Notify)
}
