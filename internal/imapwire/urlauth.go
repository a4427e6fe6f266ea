package imapwire

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// MechanismInternal is the only authorization mechanism (RFC 4467 2.4.1).
const MechanismInternal = "INTERNAL"

// minToken is how many octets a token has at least.
const minToken = 16

// GenURLAuth is GENURLAUTH (RFC 4467 7).
type GenURLAuth struct{ Rumps []RumpURL }

// RumpURL is a URL to be authorised.
type RumpURL struct {
	URL       string
	Mechanism string // upper case
}

// ResetKey is RESETKEY (RFC 4467 7). Without a mailbox, All is set.
type ResetKey struct {
	All        bool
	Mailbox    string
	Mechanisms []string // upper case
}

// URLFetch is URLFETCH (RFC 4467 7, RFC 5524).
type URLFetch struct{ URLs []FetchURL }

// FetchURL is a URL and what is wanted of it, nothing for its octets alone.
type FetchURL struct {
	URL   string
	Items []URLItem // each once, the structure first; of URLBody and URLBinary one
}

// Has reports whether an item is asked for.
func (u *FetchURL) Has(i URLItem) bool { return slices.Contains(u.Items, i) }

// URLItem is what an extended URLFETCH gives.
type URLItem uint8

// The items.
const (
	URLStructure URLItem = iota
	URLBody
	URLBinary
)

var urlItems = map[string]URLItem{"BODYPARTSTRUCTURE": URLStructure, "BODY": URLBody, "BINARY": URLBinary}

func (l *lexer) genURLAuth() (any, error) {
	a := new(GenURLAuth)
	return a, l.urls(func() error {
		var r RumpURL
		var err error
		if r.URL, err = l.url(); err != nil {
			return err
		}
		if err = l.space(); err != nil {
			return err
		}
		r.Mechanism, err = l.word()
		a.Rumps = append(a.Rumps, r)
		return err
	})
}

// urls takes URLs, each behind a space, to the end of the command.
func (l *lexer) urls(one func() error) error {
	for n := 0; n == 0 || !l.atEnd(); n++ {
		if n == maxURLs {
			return syntax("More than %d URLs", maxURLs)
		}
		if err := l.space(); err != nil {
			return err
		}
		if err := one(); err != nil {
			return err
		}
	}
	return nil
}

func (l *lexer) url() (string, error) {
	s, err := l.astring()
	switch {
	case err == nil && s == "":
		err = syntax("Empty URL")
	case len(s) > maxURL:
		err = syntax("URL of more than %d octets", maxURL)
	}
	return s, err
}

func (l *lexer) resetKey() (any, error) {
	if l.atEnd() {
		return &ResetKey{All: true}, nil
	}
	name, err := l.argMailbox()
	if err != nil {
		return nil, err
	}
	a := &ResetKey{Mailbox: name}
	for !l.atEnd() {
		if len(a.Mechanisms) == maxEnable {
			return nil, syntax("More than %d mechanisms", maxEnable)
		}
		if err := l.space(); err != nil {
			return nil, err
		}
		w, err := l.word()
		if err != nil {
			return nil, err
		}
		a.Mechanisms = append(a.Mechanisms, w)
	}
	return a, nil
}

func (l *lexer) urlFetch() (any, error) {
	a := new(URLFetch)
	return a, l.urls(func() error {
		u, err := l.fetchURL()
		a.URLs = append(a.URLs, u)
		return err
	})
}

func (l *lexer) fetchURL() (u FetchURL, err error) {
	if l.peek() != '(' {
		u.URL, err = l.url()
		return u, err
	}
	var has [URLBinary + 1]bool
	err = l.list(1+len(has), false, func() (err error) {
		if u.URL == "" {
			u.URL, err = l.url()
			return err
		}
		w, err := l.word()
		item, known := urlItems[w]
		switch {
		case err != nil:
			return err
		case !known:
			return syntax("URLFETCH knows BODYPARTSTRUCTURE, BODY and BINARY")
		case has[item]:
			return syntax("%s is asked for twice", w)
		}
		has[item] = true
		u.Items = append(u.Items, item)
		return nil
	})
	slices.Sort(u.Items) // as other servers answer
	if err == nil && has[URLBody] && has[URLBinary] {
		err = syntax("BODY and BINARY are not given together")
	}
	return u, err
}

// AuthURL is an IMAP URL of a message with who may use it (RFC 4467 3, RFC 5092 6), and
// perhaps with the proof that its user has allowed it.
type AuthURL struct {
	URL
	User    string // whose right to read it is used
	Host    string // lower case, without a port
	Expires time.Time
	Access  Access
	For     string // the user of AccessSubmit and AccessUser
	Rump    string // what is proven: all before the mechanism

	// Of a URL that was authorised.
	Mechanism string // upper case; "": it was not
	Token     []byte
}

// Access is who may use a URL.
type Access uint8

// The access identifiers (RFC 4467 2.3, RFC 5593).
const (
	AccessAnonymous Access = iota // every session
	AccessAuthUser                // every user
	AccessUser                    // one
	AccessSubmit                  // who submits mail for one
	AccessStream                  // who streams for others
)

// ParseAuthURL reads an IMAP URL with URLAUTH. Such URLs name a user and a message.
func ParseAuthURL(s string) (u AuthURL, err error) {
	scheme, rest, ok := cutFold(s, "://")
	server, path, there := strings.Cut(rest, "/")
	if !ok || !strings.EqualFold(scheme, "imap") || !there || len(s) > maxURL || !utf8.ValidString(s) {
		return u, errURL
	}
	if u.User, u.Host, ok = urlServer(server); !ok {
		return u, errURL
	}
	path, auth, ok := cutFold("/"+path, ";URLAUTH=")
	if !ok {
		return u, errURL
	}
	path, expire, limited := cutFold(path, ";EXPIRE=")
	if u.URL, err = ParseURL(path); err != nil {
		return u, err
	}
	if limited {
		if u.Expires, err = time.Parse(time.RFC3339, strings.ToUpper(expire)); err != nil {
			return u, errURL
		}
	}
	access, proof, proven := strings.Cut(auth, ":")
	if !u.access(access) {
		return u, errURL
	}
	u.Rump = s
	if proven {
		return u, u.prove(proof)
	}
	return u, nil
}

// urlServer reads "user[;AUTH=mechanism]@host[:port]".
func urlServer(s string) (user, host string, ok bool) {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return "", "", false
	}
	user, _, _ = cutFold(s[:at], ";AUTH=")
	host = strings.ToLower(s[at+1:])
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		if _, err := parseNumber(host[i+1:], 1<<16-1); err != nil {
			return "", "", false
		}
		host = host[:i]
	}
	user, ok = unescape(user)
	return user, host, ok && user != "" && utf8.ValidString(user) && host != ""
}

var accesses = map[string]Access{
	"ANONYMOUS": AccessAnonymous, "AUTHUSER": AccessAuthUser, "USER+": AccessUser, "SUBMIT+": AccessSubmit, "STREAM": AccessStream,
}

func (u *AuthURL) access(s string) (ok bool) {
	kind, user, one := strings.Cut(s, "+")
	if one {
		kind += "+"
	}
	if u.Access, ok = accesses[strings.ToUpper(kind)]; !ok || !one {
		return ok
	}
	u.For, ok = unescape(user)
	return ok && u.For != "" && utf8.ValidString(u.For)
}

func (u *AuthURL) prove(proof string) error {
	mechanism, token, _ := strings.Cut(proof, ":")
	u.Rump = u.Rump[:len(u.Rump)-len(proof)-1]
	octets, err := hex.DecodeString(token)
	if mechanism == "" || err != nil || len(octets) < minToken {
		return errURL
	}
	u.Mechanism, u.Token = strings.ToUpper(mechanism), octets
	return nil
}

// Authorised is the URL with its proof.
func (u *AuthURL) Authorised(mechanism string, token []byte) string {
	return u.Rump + ":" + strings.ToLower(mechanism) + ":" + hex.EncodeToString(token)
}
