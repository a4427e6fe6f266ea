package imapd

import (
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/imapwire/imaptest"
)

// TestQuotaIsSetByWhoComesInForTheUser and holds from then on.
func TestQuotaIsSetByWhoComesInForTheUser(t *testing.T) {
	a := newAccount(t)
	octets := strings.Repeat("x", 1500)
	c := imaptest.NewClient(t, dialAs(t, a, 7, "admin"))
	for _, x := range []struct{ command, untagged, tagged string }{
		{`SETQUOTA "" (STORAGE 2 MESSAGE 3)`, `* QUOTA "" (STORAGE 0 2 MESSAGE 0 3)`, "OK SETQUOTA completed"},
		{`SETQUOTA "" (SOUP 2)`, "", "NO [CANNOT] No such resource"},
		{`SETQUOTA "" (STORAGE 9223372036854775807)`, "", "NO [LIMIT] Over a limit of the server"},
		{`SETQUOTA x ()`, "", "NO [NONEXISTENT] No such quota root"},
		{"APPEND INBOX {1500+}\r\n" + octets, "", "OK"},
		{`GETQUOTA ""`, `* QUOTA "" (STORAGE 2 2 MESSAGE 1 3)`, "OK GETQUOTA completed"},
		{"APPEND INBOX {1500+}\r\n" + octets, "", "NO [OVERQUOTA] Over quota"},
		{`SETQUOTA "" ()`, `* QUOTA "" ()`, "OK SETQUOTA completed"},
		{"APPEND INBOX {1500+}\r\n" + octets, "", "OK"},
	} {
		untagged, tagged := c.Command("%s", x.command)
		if x.tagged == "OK" {
			tagged = tagged[:2]
		}
		if x.untagged != "" && (len(untagged) != 1 || untagged[0] != x.untagged) || tagged != x.tagged {
			t.Errorf("%.40s: %q, %s", x.command, untagged, tagged)
		}
	}
}
