package message

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the expected part of testdata/structure")

const separator = "=====\n"

// TestStructureOfNastyMessages reads testdata/structure: a message, a line of
// "=", and what is expected. In the message LF means CRLF; \r, \n, \0, \\ and \xNN
// mean those octets, and a backslash at the end of a line joins it with the next.
func TestStructureOfNastyMessages(t *testing.T) {
	files, err := filepath.Glob("testdata/structure/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			source, want, _ := strings.Cut(string(text), separator)
			msg := unescapeMessage(t, source)
			got := dump(msg)
			if *update {
				if err := os.WriteFile(name, []byte(source+separator+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func unescapeMessage(t *testing.T, s string) []byte {
	t.Helper()
	var b []byte
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\n':
			b = append(b, "\r\n"...)
		case s[i] != '\\' || i+1 == len(s):
			b = append(b, s[i])
		default:
			i++
			switch s[i] {
			case '\n':
			case 'r':
				b = append(b, '\r')
			case 'n':
				b = append(b, '\n')
			case '0':
				b = append(b, 0)
			case 'x':
				n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
				if err != nil {
					t.Fatal(err)
				}
				b = append(b, byte(n))
				i += 2
			default:
				b = append(b, s[i])
			}
		}
	}
	return b
}

// dump prints all there is to know of a message.
func dump(msg []byte) string {
	var out strings.Builder
	d := ParseBytes(msg)
	dumpPart(&out, &d.Root, msg, "")
	if d.Sent.Valid {
		fmt.Fprintf(&out, "sent %s\n", d.Sent.Time().Format("2006-01-02T15:04:05-07:00"))
	}
	fmt.Fprintf(&out, "ENVELOPE %s\n", visible(AppendEnvelope(nil, &d.Envelope)))
	fmt.Fprintf(&out, "BODY %s\n", visible(AppendBodyStructure(nil, &d.Root, false)))
	fmt.Fprintf(&out, "BODYSTRUCTURE %s\n", visible(AppendBodyStructure(nil, &d.Root, true)))
	return out.String()
}

func dumpPart(out *strings.Builder, p *Part, msg []byte, indent string) {
	fmt.Fprintf(out, "%s%s/%s header %d-%d body %d-%d lines %d", indent, p.Type, p.Subtype,
		p.Header.Start, p.Header.End, p.Body.Start, p.Body.End, p.Lines)
	if len(p.Children) == 0 {
		body := msg[p.Body.Start:p.Body.End]
		if len(body) > 60 {
			body = body[:60]
		}
		fmt.Fprintf(out, " %q", body)
	}
	out.WriteString("\n")
	for _, c := range p.Children {
		dumpPart(out, c, msg, indent+"  ")
	}
}

// visible shows a literal's line end and octets in one line of ASCII.
func visible(wire []byte) string {
	var b bytes.Buffer
	for _, c := range wire {
		if c >= ' ' && c < 0x7f {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "<%02x>", c)
		}
	}
	return b.String()
}
