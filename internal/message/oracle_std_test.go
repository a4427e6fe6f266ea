package message

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/textproto"
	"slices"
	"strings"
)

// raw is a part as Go's standard library reads it: its octets as they stand in the
// message, and what its header says.
type raw struct {
	header   textproto.MIMEHeader
	body     []byte
	children []*raw
}

// standardTree reads a message with net/textproto, mime and mime/multipart, embedded messages
// too. These refuse what breaks a rule of the header, and a multipart that is not closed.
func standardTree(msg []byte) (*raw, error) {
	br := bufio.NewReader(bytes.NewReader(msg))
	h, err := textproto.NewReader(br).ReadMIMEHeader()
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(br)
	if err != nil {
		return nil, err
	}
	r := &raw{header: h, body: body}
	return r, r.descend("text/plain")
}

// descend finds what is inside a part.
func (r *raw) descend(otherwise string) error {
	mediaType, params, err := r.mediaType(otherwise)
	switch {
	case err != nil:
		return err
	case mediaType == "message/rfc822" && !slices.Contains([]string{"base64", "quoted-printable"}, r.encoding()):
		child, err := standardTree(r.body)
		if err != nil {
			return err
		}
		r.children = []*raw{child}
	case strings.HasPrefix(mediaType, "multipart/") && params["boundary"] != "":
		otherwise := "text/plain"
		if mediaType == "multipart/digest" {
			otherwise = "message/rfc822"
		}
		return r.split(params["boundary"], otherwise)
	}
	return nil
}

func (r *raw) split(boundary, otherwise string) error {
	for mr := multipart.NewReader(bytes.NewReader(r.body), boundary); ; {
		p, err := mr.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		child := &raw{header: p.Header}
		if child.body, err = io.ReadAll(p); err != nil {
			return err
		}
		if err := child.descend(otherwise); err != nil {
			return err
		}
		r.children = append(r.children, child)
	}
}

func (r *raw) encoding() string {
	return strings.ToLower(strings.TrimSpace(r.header.Get("Content-Transfer-Encoding")))
}

func (r *raw) mediaType(otherwise string) (string, map[string]string, error) {
	v := r.header.Get("Content-Type")
	if v == "" {
		v = otherwise
	}
	return mime.ParseMediaType(v)
}

// standardDifferences compares what BODYSTRUCTURE says of the parts, and where their headers
// and bodies are: equal octets at the place in the tree where they have to be.
func standardDifferences(msg []byte, p *Part) (found []difference, asked bool) {
	theirs, err := standardTree(msg)
	if err != nil {
		return nil, false
	}
	c := comparison{oracle: "standard", msg: msg}
	c.parts(p, theirs, "1", "text/plain")
	return c.found, true
}

func (c *comparison) parts(p *Part, r *raw, at, otherwise string) {
	c.part, c.at = p, at
	mediaType, params, _ := r.mediaType(otherwise)
	c.compare("type", p.Type+"/"+p.Subtype, mediaType)
	if len(params) == 0 && mediaType == "text/plain" {
		params = map[string]string{"charset": "us-ascii"} // RFC 2045 5.2
	}
	c.compare("parameters", listed(p.Params), listedMap(params))
	disposition, dparams, err := mime.ParseMediaType(r.header.Get("Content-Disposition"))
	if d := p.Disposition; d != nil && err == nil {
		c.compare("disposition", d.Type+" "+listed(d.Params), disposition+" "+listedMap(dparams))
	}
	c.compare("encoding", p.Encoding, orElse(r.encoding(), "7bit"))
	for name, ours := range map[string]NString{
		"Content-Id": p.ID, "Content-Description": p.Description, "Content-Location": p.Location, "Content-Md5": p.MD5,
	} {
		c.compare(name, spaced(ours.Value), spaced(r.header.Get(name)))
	}
	c.compare("language", strings.Join(p.Language, ","), strings.ReplaceAll(r.header.Get("Content-Language"), " ", ""))
	c.compare("header", fieldsOf(c.msg[p.Header.Start:p.Header.End]), fieldsText(r.header))
	c.compare("body", string(c.msg[p.Body.Start:p.Body.End]), string(r.body))
	if len(p.Children) != len(r.children) {
		c.compare("children", fmt.Sprint(len(p.Children)), fmt.Sprint(len(r.children)))
		return
	}
	otherwise = "text/plain"
	if mediaType == "multipart/digest" {
		otherwise = "message/rfc822"
	}
	for i, child := range p.Children {
		c.parts(child, r.children[i], fmt.Sprintf("%s.%d", at, i+1), otherwise)
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// spaced is a text however it was folded.
func spaced(s string) string { return strings.Join(strings.Fields(s), " ") }

// fieldsOf reads the header's octets again.
func fieldsOf(b []byte) string {
	h, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(bytes.Clone(b), "\r\n"...)))).ReadMIMEHeader()
	if err != nil {
		return err.Error()
	}
	return fieldsText(h)
}

func fieldsText(h textproto.MIMEHeader) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		fmt.Fprintf(&b, "%s: %q\n", name, h[name])
	}
	return b.String()
}

// listed are parameters in their order by name, those of RFC 2231 decoded.
func listed(params []Param) string {
	m := map[string]string{}
	for _, p := range params {
		name, extended := strings.CutSuffix(p.Name, "*")
		if extended {
			p.Value = unextended(p.Value)
		}
		if _, twice := m[name]; !twice {
			m[name] = p.Value
		}
	}
	return listedMap(m)
}

func listedMap(m map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s=%q", name, m[name]))
	}
	return strings.Join(out, " ")
}

// unextended undoes charset'language'percent-encoding, for UTF-8 and its subset.
func unextended(v string) string {
	_, rest, _ := strings.Cut(v, "'")
	_, rest, _ = strings.Cut(rest, "'")
	var b []byte
	for i := 0; i < len(rest); i++ {
		var c byte
		if rest[i] == '%' && i+2 < len(rest) {
			if _, err := fmt.Sscanf(rest[i+1:i+3], "%02x", &c); err == nil {
				b = append(b, c)
				i += 2
				continue
			}
		}
		b = append(b, rest[i])
	}
	return string(b)
}
