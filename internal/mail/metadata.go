package mail

import "strings"

// Bounds of metadata (RFC 5464). Those of an account count what its mailboxes and it
// itself have, deleted mailboxes excepted. They are part of level 1, like those above.
const (
	MaxMetadataValue   = 64 << 10 // octets
	MaxMetadataName    = 1_000    // octets
	MaxMetadataEntries = 20_000   // of an account
	MaxMetadataOctets  = 16 << 20 // of an account: names and values
	MaxMetadataChanges = 200      // entries of one SetMetadata
)

// Metadata is an entry of a mailbox, or of the account, and its value, which may be
// empty.
type Metadata struct {
	Name  string // as EntryName gives it
	Value []byte
}

// PrivateEntry reports whether an entry is its reader's own.
func PrivateEntry(name string) bool { return strings.HasPrefix(name, "/private/") }

// EntryName is the one form of an entry's name, in lower case; false for what is no name
// (RFC 5464 3.2): two components at least, of which the first is "private" or "shared",
// and four below "vendor".
func EntryName(s string) (string, bool) {
	if len(s) > MaxMetadataName {
		return "", false
	}
	b := []byte(s)
	for i, c := range b {
		switch {
		case c < 0x20, c >= 0x7f, c == '*', c == '%':
			return "", false
		case 'A' <= c && c <= 'Z':
			b[i] = c + 'a' - 'A'
		}
	}
	parts := strings.Split(string(b), "/")
	if len(parts) < 3 || parts[0] != "" || parts[1] != "private" && parts[1] != "shared" {
		return "", false
	}
	for _, p := range parts[1:] {
		if p == "" {
			return "", false
		}
	}
	return string(b), parts[2] != "vendor" || len(parts) >= 5
}
