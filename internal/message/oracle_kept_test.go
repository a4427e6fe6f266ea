package message

import (
	"bytes"
	"encoding/base64"
	"io"
	"regexp"
	"strings"
	"time"
)

// collection is which messages are compared; they add up.
type collection uint8

const (
	ofEnmime       collection = 1 << iota // enmime's test data
	ofSpamAssassin                        // SpamAssassin's public corpus

	ofBoth = ofEnmime | ofSpamAssassin
)

// kept are the differences that are meant. The first that explains one is its reason; one that
// explains nothing any more, in a collection that it is for, has to go.
var kept = []struct {
	name, why string
	in        collection
	explains  func(d difference) bool
}{
	{
		"text is compared decoded", "go-message and enmime undo the charset, in some messages; we do so for SEARCH and " +
			"PREVIEW alone, with the same result", ofBoth,
		func(d difference) bool { return d.field == "content" && d.text == d.theirs },
	},
	{
		"windows-1252", "octets 0x80 to 0x9f of ISO-8859-1 are control characters to the oracles; we read what WHATWG does and " +
			"senders mean", ofSpamAssassin,
		func(d difference) bool {
			return (d.field == "content" && controls(d.text) == controls(d.theirs)) || (d.field == "subject" && d.ours == controls(d.theirs))
		},
	},
	{
		"8-bit text of us-ascii", "enmime guesses the charset of text that names none, or has octets that are not in it; " +
			"FETCH gives the octets, and SEARCH takes them for UTF-8 or windows-1252", ofBoth,
		func(d difference) bool {
			return d.field == "content" && d.oracle == "enmime" && d.part.Param("charset") == "us-ascii" && eightBit(d.ours)
		},
	},
	{
		"a soft line break at the end", "\"=\" at the very end of quoted-printable is a line break to us, text to enmime", ofSpamAssassin,
		func(d difference) bool {
			return d.field == "content" && d.part.Encoding == "quoted-printable" && d.ours+"=" == d.theirs
		},
	},
	{
		"broken base64", "we decode what there is; enmime gives nothing, or stops elsewhere", ofBoth,
		func(d difference) bool {
			return d.field == "content" && d.oracle == "enmime" && d.part.Encoding == "base64" && !strictBase64(d)
		},
	},
	{
		"charset of an HTML element", "enmime believes a meta element; we use what MIME declares", ofSpamAssassin,
		func(d difference) bool {
			return d.field == "content" && d.oracle == "enmime" && d.part.Subtype == "html" && metaCharset.MatchString(d.ours)
		},
	},
	{
		"no type", "enmime leaves the type of a part that names none, or none that is one, empty; IMAP needs one, and RFC 2045 5.2 " +
			"says which", ofBoth,
		func(d difference) bool {
			return d.field == "type" && d.oracle == "enmime" && d.theirs == "" && d.ours == "text/plain"
		},
	},
	{
		"a semicolon is missing", "a type is read even if no semicolon stands before its parameters; enmime gives it up", ofBoth,
		func(d difference) bool {
			return d.field == "type" && d.oracle == "enmime" && d.theirs == "application/octet-stream" && len(d.part.Params) > 0
		},
	},
	{
		"multipart without a boundary", "it is text to us; IMAP has no multipart that is a leaf", ofEnmime,
		func(d difference) bool {
			return (d.field == "type" || d.field == "parameters") && len(d.part.Children) == 0 && boundless.Match(d.msg)
		},
	},
	{
		"multipart without parts", "it has one empty part to us; IMAP has no multipart that is a leaf", ofBoth,
		func(d difference) bool {
			return d.field == "children" && d.theirs == "0" && len(d.part.Children) == 1 && d.part.Children[0].Size() == 0
		},
	},
	{
		"no empty line before the first delimiter", "the header goes on to the first empty line, and only the second delimiter is in the " +
			"body; enmime finds no part at all", ofEnmime,
		func(d difference) bool {
			return d.field == "children" && d.theirs == "0" && bytes.Contains(d.msg[:d.part.Header.End], []byte("\n--"+d.part.boundary()))
		},
	},
	{
		"us-ascii by default", "BODYSTRUCTURE names the charset of a text/plain that names none (RFC 2045 5.2), as other servers do", ofBoth,
		func(d difference) bool {
			return d.field == "parameters" && strings.TrimPrefix(d.ours, `charset="us-ascii" `) == d.theirs
		},
	},
	{
		"backslashes of Windows", "a backslash quotes what follows (RFC 5322 3.2.1); package mime keeps one that looks like a path's", ofSpamAssassin,
		func(d difference) bool {
			return d.field == "parameters" && d.ours == strings.ReplaceAll(d.theirs, `\\`, "")
		},
	},
	{
		"the empty line of an embedded header", "the line end before a delimiter belongs to it, but as the empty line of an embedded " +
			"message it ends that header too, which keeps it", ofEnmime,
		func(d difference) bool {
			return d.field == "content" && d.part.IsMessage() && d.part.Children[0].Size() == 0 && d.ours == d.theirs+"\r\n"
		},
	},
	{
		"encoded words in quotes or in words", "net/mail leaves them, as RFC 2047 5 wants; few readers of mail do, and senders write them", ofBoth,
		func(d difference) bool { return d.field == "addresses" && DecodeText(d.theirs) == d.ours },
	},
	{
		"blanks in a comment", "several stay several in a name; net/mail makes them one", ofSpamAssassin,
		func(d difference) bool { return d.field == "addresses" && spaced(d.ours) == d.theirs },
	},
	{
		"names of zones", "net/mail knows the time of no zone but its own: EDT and others are UTC to it", ofSpamAssassin,
		func(d difference) bool {
			return d.field == "date" && strings.HasSuffix(d.theirs, "+0000") && wall(d.ours) == wall(d.theirs)
		},
	},
	{
		"GMT+1", "it is no zone of RFC 5322: we read GMT and forgive the rest; net/mail comes to the same instant and says that it is another " +
			"hour there", ofSpamAssassin,
		func(d difference) bool {
			return d.field == "date" && bytes.Contains(d.msg[:d.part.Header.End], []byte(" GMT+1\r\n")) && instant(d.ours).Equal(instant(d.theirs))
		},
	},
}

var (
	metaCharset = regexp.MustCompile(`(?i)<meta[^>]+charset`)
	boundless   = regexp.MustCompile(`(?im)^content-type: *multipart/[a-z]+;? *\r?$`)
)

func keptAs(d difference, in collection) string {
	for _, k := range kept {
		if k.in&in != 0 && k.explains(d) {
			return k.name
		}
	}
	return ""
}

// wall is a date without its zone.
func wall(s string) string { return s[:max(len(s)-len(" +0000"), 0)] }

func instant(s string) time.Time {
	t, _ := time.Parse(time.RFC1123Z, s)
	return t
}

func eightBit(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) >= 0
}

func strictBase64(d difference) bool {
	r := base64.NewDecoder(base64.StdEncoding, bytes.NewReader(d.msg[d.part.Body.Start:d.part.Body.End]))
	_, err := io.Copy(io.Discard, r)
	return err == nil
}
