package imapwire

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

// examples reads pairs of a command and what is expected of it.
func examples(t testing.TB, file string) [][2]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list [][2]string
	for s := bufio.NewScanner(f); s.Scan(); {
		if command, ok := strings.CutPrefix(s.Text(), "=> "); ok {
			list[len(list)-1][1] = command
		} else if !strings.HasPrefix(s.Text(), "#") {
			command := strings.NewReplacer(`\r\n`, "\r\n", `\x00`, "\x00").Replace(s.Text())
			list = append(list, [2]string{command, ""})
		}
	}
	return list
}

// collect gives the one command that s is.
func collect(t testing.TB, s string) Raw {
	t.Helper()
	c := NewCollector(Limits{}, nil)
	in := []byte(s + "\r\n")
	for len(in) > 0 {
		n, step, err := c.Feed(in)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		in = in[n:]
		if step == Whole {
			break
		}
	}
	if len(in) > 0 {
		t.Fatalf("%q: %q is left", s, in)
	}
	return c.Take()
}

func render(c Command) string {
	s := c.Tag + " "
	if c.UID {
		s += "UID "
	}
	s += c.Name
	if c.Args != nil {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(true)
		_ = e.Encode(c.Args)
		s += " " + prune(strings.TrimSpace(b.String()))
	}
	return s
}

// prune leaves the zero fields of items and keys out.
func prune(s string) string {
	empty := `"Path":null,"Kind":0,"Fields":null`
	return strings.NewReplacer(
		`,"Section":{`+empty+`}`, "", `,"Peek":false`, "", `,"Partial":null`, "", `,"Page":null`, "", `,"Items":null,"Program"`, `,"Program"`,
		`"Keys":null,`, "", `"Set":{"Saved":false,"Ranges":null},`, "",
		`,"Keys":null`, "", `,"Set":{"Saved":false,"Ranges":null}`, "",
		`,"Flag":0`, "", `,"Field":""`, "", `,"Text":""`, "", `,"Number":0`, "",
		`,"Date":{"Year":0,"Month":0,"Day":0}`, "", `,"Of":0`, "",
		`,"QResync":null`, "", `,"Vanished":false`, "", `"Charset":false,`, "", `,"Given":""`, "", `,"Parts":null`, "", `,"Lazy":false`, "",
	).Replace(s)
}

func TestCommandsAreReadAsWritten(t *testing.T) {
	for _, x := range examples(t, "testdata/good.txt") {
		c, err := Parse(collect(t, x[0]), false)
		if err != nil {
			t.Errorf("%s: %v", x[0], err)
		} else if got := render(c); got != x[1] {
			t.Errorf("%s\n got %s\nwant %s", x[0], got, x[1])
		}
	}
}

// TestEveryCommandHasAnExample, with which FuzzParse and FuzzSearch begin.
func TestEveryCommandHasAnExample(t *testing.T) {
	given := map[string]bool{}
	for _, x := range examples(t, "testdata/good.txt") {
		given[collect(t, x[0]).Name()] = true
	}
	names := Commands()
	for n := range uidSyntaxOf {
		names = append(names, "UID "+n)
	}
	for _, n := range names {
		if !given[n] {
			t.Errorf("testdata/good.txt has no %s", n)
		}
	}
}

func TestBadCommandsAreExplained(t *testing.T) {
	for _, x := range examples(t, "testdata/bad.txt") {
		_, err := Parse(collect(t, x[0]), false)
		e, ok := errors.AsType[*SyntaxError](err)
		if !ok || e.Text != x[1] {
			t.Errorf("%s\n got %v\nwant %s", x[0], err, x[1])
		} else if x[0][0] == 'a' && e.Tag != "a" {
			t.Errorf("%s: tag %q", x[0], e.Tag)
		}
	}
}

// TestUTF8NamesAreUnderstood whether the client has enabled them or not; only then "&"
// stands for itself.
func TestUTF8NamesAreUnderstood(t *testing.T) {
	raw := collect(t, `a SELECT "gru`+"\u0308"+`n"`)
	for _, enabled := range []bool{false, true} {
		c, err := Parse(raw, enabled)
		if err != nil || c.Args.(*Select).Mailbox != "grün" {
			t.Errorf("enabled %t: got %+v, %v; want the name in normal form C", enabled, c.Args, err)
		}
	}
	if c, err := Parse(collect(t, `a SELECT "a&b"`), true); err != nil || c.Args.(*Select).Mailbox != "a&b" {
		t.Errorf("got %+v, %v; want & to stand for itself", c.Args, err)
	}
	if _, err := Parse(collect(t, `a SELECT "a&b"`), false); err == nil {
		t.Error("& is taken for itself by a client that did not enable that")
	}
}

func TestNestingAndCountsAreBounded(t *testing.T) {
	for name, s := range map[string]string{
		"lists":  "a SEARCH " + strings.Repeat("(", 40) + "ALL" + strings.Repeat(")", 40),
		"not":    "a SEARCH " + strings.Repeat("NOT ", 40) + "ALL",
		"keys":   "a SEARCH" + strings.Repeat(" ALL", 2000),
		"items":  "a FETCH 1 (" + strings.Repeat("UID ", 300) + "UID)",
		"ranges": "a FETCH " + strings.Repeat("1,", 12000) + "1 UID",
		"flags":  "a STORE 1 FLAGS (" + strings.Repeat("x ", 300) + "x)",
		"parts":  "a FETCH 1 BODY[" + strings.Repeat("1.", 200) + "1]",
		"fields": "a FETCH 1 BODY[HEADER.FIELDS (" + strings.Repeat("x ", 300) + "x)]",
		"names":  "a LIST \"\" (" + strings.Repeat("x ", 300) + "x)",
		"word":   "a STORE 1 FLAGS " + strings.Repeat("x", 300),
	} {
		if _, err := Parse(collect(t, s), false); err == nil || !strings.Contains(err.Error(), "ore than") && !strings.Contains(err.Error(), "longer") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestModifiedUTF7HasOneEncodingOnly(t *testing.T) {
	for _, s := range []string{"", "a&-b", "Entw&APw-rfe", "&U,BTFw-", "&2D3eAA-!", "&AAo-"} {
		plain, err := DecodeUTF7(s)
		if err != nil {
			t.Errorf("%q: %v", s, err)
		} else if got := string(AppendUTF7(nil, plain)); got != s {
			t.Errorf("%q became %q became %q", s, plain, got)
		}
	}
	for _, s := range []string{
		"&", "a&", "&AGE-", "&U,BTFw", "&2D0-", "&3gA-", "ü", "a\x7f", "&U,BTFw-&ZeVnLIqe-", "&U,BTF-", "&APx-", "&AP w-", "&\r\nAPw-",
	} {
		if plain, err := DecodeUTF7(s); err == nil {
			t.Errorf("%q was accepted as %q", s, plain)
		}
	}
}

func TestWrittenSectionReadsBackTheSame(t *testing.T) {
	for _, s := range []string{
		"[]", "[1]", "[1.2.MIME]", "[HEADER]", "[3.TEXT]", "[HEADER.FIELDS (To \"x y\")]", "[4.HEADER.FIELDS.NOT (A B C)]",
	} {
		l := &lexer{text: []byte(s)}
		sec, err := l.section(false)
		if got := string(AppendSection(nil, sec)); err != nil || got != s {
			t.Errorf("%s became %s, %v", s, got, err)
		}
	}
}

func TestStringsAreWrittenInTheSimplestLegalForm(t *testing.T) {
	for in, want := range map[string]string{
		"":                        `""`,
		"abc":                     "abc",
		"nil":                     `"nil"`,
		"a b":                     `"a b"`,
		`a"\`:                     `"a\"\\"`,
		"ü":                       "{2}\r\nü",
		"a\r\nb":                  "{4}\r\na\r\nb",
		"a\x00":                   "{2}\r\na\x80",
		strings.Repeat("x", 1001): "{1001}\r\n" + strings.Repeat("x", 1001),
	} {
		if got := string(AppendAString(nil, in)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := string(AppendMailbox(nil, "Entwürfe & mehr", false)); got != `"Entw&APw-rfe &- mehr"` {
		t.Error(got)
	}
	if got := string(AppendMailbox(nil, "Entwürfe", true)); got != `"Entwürfe"` {
		t.Error(got)
	}
}
