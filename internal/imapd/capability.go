package imapd

import (
	"context"
	"strconv"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// Capabilities are what a client may use once it is authenticated. The front end
// composes its greeting from them and its own (STARTTLS, AUTH=, COMPRESS ...).
func Capabilities() []string {
	return []string{
		"IMAP4rev1", "IMAP4rev2", "LITERAL+", "ID", "ENABLE", "IDLE", "NAMESPACE", "CHILDREN", "UNSELECT", "UIDPLUS", "MOVE",
		"MULTIAPPEND", "BINARY", "ESEARCH", "SEARCHRES", "WITHIN", "CONDSTORE",
		"SORT", "SORT=DISPLAY", "ESORT", "CONTEXT=SEARCH", "CONTEXT=SORT", "PARTIAL", "THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "THREAD=REFS",
		"MULTISEARCH", "INPROGRESS",
		"I18NLEVEL=1", "OBJECTID", "SAVEDATE",
		"LIST-EXTENDED", "LIST-METADATA", "LIST-STATUS", "METADATA", "METADATA-SERVER", "NOTIFY", "SPECIAL-USE", "CREATE-SPECIAL-USE", "STATUS=SIZE", "UTF8=ACCEPT",
		"ACL", "RIGHTS=texk", "LIST-MYRIGHTS",
		"CATENATE", "PREVIEW", "QRESYNC", "QUOTA", "QUOTA=RES-MESSAGE", "QUOTA=RES-STORAGE", "QUOTASET", "REPLACE", "UIDONLY", "URL-PARTIAL", "URLAUTH", "URLAUTH=BINARY",
		"APPENDLIMIT=" + strconv.Itoa(mail.MaxMessageSize),
	}
}

// capability is CAPABILITY.
func (s *Session) capability(context.Context, *imapwire.Command) (answer, error) {
	s.out.untagged("CAPABILITY " + strings.Join(Capabilities(), " "))
	return ok("CAPABILITY completed"), nil
}

// noop is NOOP and CHECK: all their work is what every command ends with.
func (s *Session) noop(_ context.Context, c *imapwire.Command) (answer, error) {
	return ok(c.Name + " completed"), nil
}
