package message

import (
	"slices"
	"strings"
)

// Kept is what is kept of a message's header beside its envelope: the fields that
// clients' lists of messages and rules ask for, as they are written, in their order, with the
// empty line. With it such a client is answered without reading the message.
type Kept struct {
	Header Header
	Valid  bool // else there was too much of it
}

// maxKept is the most octets kept: a message with more has a list of addressees, or a
// thread, of hundreds.
const maxKept = 4 << 10

// keptNames are sorted, in lower case. They belong to [Version]. Names that most
// messages lack cost nothing, and save reading all of these.
var keptNames = [...]string{
	"auto-submitted", "autocrypt", "bcc", "bimi-indicator", "bimi-location", "cc", "chat-version", "content-class", "content-description",
	"content-disposition", "content-language", "content-transfer-encoding", "content-type", "date", "delivered-to",
	"disposition-notification-to", "errors-to", "followup-to", "from", "importance", "in-reply-to", "keywords", "lines",
	"list-archive", "list-help", "list-id", "list-owner", "list-post", "list-subscribe", "list-unsubscribe",
	"list-unsubscribe-post", "mail-followup-to", "mail-reply-to", "message-id", "mime-version", "newsgroups", "organization",
	"precedence", "priority", "references", "reply-to", "resent-from", "resent-to", "return-path", "return-receipt-to", "sender",
	"status", "subject", "thread-index", "thread-topic", "to", "user-agent", "x-bimi-indicator-hash", "x-bogosity", "x-draft-info",
	"x-evolution-source", "x-forwarded-message-id", "x-k9mail-identity", "x-keywords", "x-label", "x-mailer",
	"x-mozilla-draft-info", "x-mozilla-keys", "x-mozilla-status", "x-mozilla-status2", "x-msmail-priority", "x-priority",
	"x-spam-flag", "x-spam-level", "x-status", "x-uid", "x-uniform-type-identifier", "x-universally-unique-identifier",
	"x-virus-scanned",
}

// longestKept is the length of the longest of them.
const longestKept = len("x-universally-unique-identifier")

// isKept reports whether fields of that name, in any case, are kept.
func isKept(name string) bool {
	if len(name) > longestKept {
		return false
	}
	var lower [longestKept]byte
	for i := range len(name) {
		lower[i] = lowerByte(name[i])
	}
	_, ok := slices.BinarySearchFunc(keptNames[:], lower[:len(name)], func(a string, b []byte) int { return strings.Compare(a, string(b)) })
	return ok
}

// keep is what is kept of a header that is interpreted whole.
func keep(h Header) Kept {
	var b []byte
	end := 0
	for f := range h.Fields() {
		end = f.Offset + len(f.Raw)
		if isKept(f.Name) {
			b = append(b, f.Raw...)
		}
		if len(b) > maxKept {
			return Kept{}
		}
	}
	if b = append(b, h[end:]...); len(b) > maxKept {
		return Kept{}
	}
	return Kept{Header(b), true}
}

// Keeps reports whether what is kept of a header, if it is valid, answers for the named
// fields: it has those of that name that the message has.
func Keeps(names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !isKept(name) })
}
