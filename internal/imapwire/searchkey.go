package imapwire

import (
	"github.com/tandemail/tandemail/internal/mail"
)

// KeyKind is the kind of a search key.
type KeyKind uint8

// The kinds, with the fields of SearchKey that they use.
const (
	KeyAll         KeyKind = iota
	KeyAnd                 // Keys
	KeyOr                  // Keys, two
	KeyNot                 // Keys, one
	KeySeq                 // Set, message numbers; "$" as well
	KeyUID                 // Set
	KeyFlag                // Flag; set
	KeyKeyword             // Text
	KeyRecent              // \Recent
	KeyHeader              // Field, Text; Text "" asks for the field alone
	KeyBody                // Text
	KeyText                // Text
	KeyLarger              // Number
	KeySmaller             // Number
	KeyBefore              // Date, of which Of
	KeyOn                  // Date, of which Of
	KeySince               // Date, of which Of
	KeyOlder               // Number: seconds (RFC 5032)
	KeyYounger             // Number: seconds
	KeyModSeq              // Number: this or higher
	KeyEmailID             // Text
	KeyThreadID            // Text
	KeyHasSaveDate         // SAVEDATESUPPORTED (RFC 8514)
	KeyEnvelope            // Field (From, To, Cc, Bcc, Subject), Text
)

// DateOf says which date of a message KeyBefore, KeyOn and KeySince compare.
type DateOf uint8

// The dates of a message.
const (
	Internal DateOf = iota // INTERNALDATE
	Sent                   // the Date field
	Saved                  // SAVEDATE
)

// SearchKey is a node of a search program.
type SearchKey struct {
	Kind   KeyKind
	Keys   []SearchKey
	Set    SeqSet
	Flag   mail.Flags
	Field  string
	Text   string
	Number uint64
	Date   Date
	Of     DateOf
}

// keyForm is how a key looks: its kind and its arguments.
type keyForm struct {
	kind  KeyKind
	arg   argKind
	not   bool // the key is the negation
	flag  mail.Flags
	field string
	of    DateOf
}

type argKind uint8

const (
	argNone argKind = iota
	argText
	argKeyword
	argNumber
	argSeconds
	argDate
	argSet
	argHeader
	argModSeq
	argID
	argKey
	argTwoKeys
)

func flagKey(f mail.Flags) keyForm   { return keyForm{kind: KeyFlag, flag: f} }
func noFlagKey(f mail.Flags) keyForm { return keyForm{kind: KeyFlag, flag: f, not: true} }
func fieldKey(name string) keyForm   { return keyForm{kind: KeyEnvelope, arg: argText, field: name} }

func dateKey(kind KeyKind, of DateOf) keyForm {
	return keyForm{kind: kind, arg: argDate, of: of}
}

// searchForms are the search keys of RFC 3501 6.4.4, 5032, 7162, 8474 and 8514.
var searchForms = map[string]keyForm{
	"ALL":        {kind: KeyAll},
	"ANSWERED":   flagKey(mail.Answered),
	"DELETED":    flagKey(mail.Deleted),
	"DRAFT":      flagKey(mail.Draft),
	"FLAGGED":    flagKey(mail.Flagged),
	"SEEN":       flagKey(mail.Seen),
	"UNANSWERED": noFlagKey(mail.Answered),
	"UNDELETED":  noFlagKey(mail.Deleted),
	"UNDRAFT":    noFlagKey(mail.Draft),
	"UNFLAGGED":  noFlagKey(mail.Flagged),
	"UNSEEN":     noFlagKey(mail.Seen),
	"KEYWORD":    {kind: KeyKeyword, arg: argKeyword},
	"UNKEYWORD":  {kind: KeyKeyword, arg: argKeyword, not: true},
	"RECENT":     {kind: KeyRecent},
	"OLD":        {kind: KeyRecent, not: true},

	"FROM":    fieldKey("From"),
	"TO":      fieldKey("To"),
	"CC":      fieldKey("Cc"),
	"BCC":     fieldKey("Bcc"),
	"SUBJECT": fieldKey("Subject"),
	"HEADER":  {kind: KeyHeader, arg: argHeader},
	"BODY":    {kind: KeyBody, arg: argText},
	"TEXT":    {kind: KeyText, arg: argText},

	"LARGER":  {kind: KeyLarger, arg: argNumber},
	"SMALLER": {kind: KeySmaller, arg: argNumber},
	"OLDER":   {kind: KeyOlder, arg: argSeconds},
	"YOUNGER": {kind: KeyYounger, arg: argSeconds},

	"BEFORE":            dateKey(KeyBefore, Internal),
	"ON":                dateKey(KeyOn, Internal),
	"SINCE":             dateKey(KeySince, Internal),
	"SENTBEFORE":        dateKey(KeyBefore, Sent),
	"SENTON":            dateKey(KeyOn, Sent),
	"SENTSINCE":         dateKey(KeySince, Sent),
	"SAVEDBEFORE":       dateKey(KeyBefore, Saved),
	"SAVEDON":           dateKey(KeyOn, Saved),
	"SAVEDSINCE":        dateKey(KeySince, Saved),
	"SAVEDATESUPPORTED": {kind: KeyHasSaveDate},

	"UID":      {kind: KeyUID, arg: argSet},
	"MODSEQ":   {kind: KeyModSeq, arg: argModSeq},
	"EMAILID":  {kind: KeyEmailID, arg: argID},
	"THREADID": {kind: KeyThreadID, arg: argID},
	"NOT":      {kind: KeyNot, arg: argKey},
	"OR":       {kind: KeyOr, arg: argTwoKeys},
}
