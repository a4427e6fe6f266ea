package imapwire

import (
	"errors"
	"maps"
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
)

// Command is one command. Args is nil for those without arguments, else the
// pointer to the type that is named like it; Select is EXAMINE's as well, Copy
// that of MOVE, Expunge of UID EXPUNGE.
type Command struct {
	Tag  string
	Name string // upper case, without "UID "
	UID  bool   // it was a UID command
	Args any
}

// Select is SELECT and EXAMINE.
type Select struct {
	Mailbox   string
	ReadOnly  bool
	CondStore bool
	QResync   *QResync
	Given     string // the name as it was written, if that is not its normal form; else ""
}

// Create is CREATE. Use is "" or the attribute asked for, without backslash. Given is
// as of Select.
type Create struct {
	Mailbox string
	Use     mail.SpecialUse
	Given   string
}

// Delete is DELETE.
type Delete struct{ Mailbox string }

// Rename is RENAME.
type Rename struct{ From, To string }

// Subscribe is SUBSCRIBE, or UNSUBSCRIBE if On is not set.
type Subscribe struct {
	Mailbox string
	On      bool
}

// Copy is COPY and MOVE.
type Copy struct {
	Set     SeqSet
	Mailbox string
}

// Expunge is UID EXPUNGE.
type Expunge struct{ Set SeqSet }

// Enable is ENABLE; the names are in upper case.
type Enable struct{ Names []string }

// ID is ID (RFC 2971): pairs of field and value as the client gave them.
type ID struct{ Fields [][2]string }

// syntaxOf says how each command is read; the lexer stands behind its name.
var syntaxOf = map[string]func(*lexer) (any, error){
	"CAPABILITY":   nil,
	"NOOP":         nil,
	"CHECK":        nil,
	"CLOSE":        nil,
	"UNSELECT":     nil,
	"EXPUNGE":      nil,
	"NAMESPACE":    nil,
	"IDLE":         nil,
	"LOGOUT":       nil,
	"STARTTLS":     nil,
	"LOGIN":        (*lexer).login,
	"AUTHENTICATE": (*lexer).authenticate,
	"COMPRESS":     (*lexer).compress,
	"SELECT":       func(l *lexer) (any, error) { return l.selectMailbox(false) },
	"EXAMINE":      func(l *lexer) (any, error) { return l.selectMailbox(true) },
	"CREATE":       (*lexer).create,
	"DELETE":       (*lexer).deleteMailbox,
	"RENAME":       (*lexer).rename,
	"SUBSCRIBE":    func(l *lexer) (any, error) { return l.subscribe(true) },
	"UNSUBSCRIBE":  func(l *lexer) (any, error) { return l.subscribe(false) },
	"LIST":         (*lexer).listCommand,
	"LSUB":         (*lexer).lsub,
	"STATUS":       (*lexer).status,
	"GETQUOTA":     (*lexer).getQuota,
	"GETQUOTAROOT": (*lexer).getQuotaRoot,
	"SETQUOTA":     (*lexer).setQuota,
	"SETACL":       (*lexer).setACL,
	"DELETEACL":    (*lexer).deleteACL,
	"GETACL":       (*lexer).getACL,
	"MYRIGHTS":     (*lexer).getACL,
	"LISTRIGHTS":   (*lexer).listRights,
	"NOTIFY":       (*lexer).notify,
	"GETMETADATA":  (*lexer).getMetadata,
	"SETMETADATA":  (*lexer).setMetadata,
	"GENURLAUTH":   (*lexer).genURLAuth,
	"RESETKEY":     (*lexer).resetKey,
	"URLFETCH":     (*lexer).urlFetch,
	"APPEND":       (*lexer).appendCommand,
	"REPLACE":      (*lexer).replace,
	"CANCELUPDATE": (*lexer).cancelUpdate,
	"SEARCH":       (*lexer).search,
	"ESEARCH":      (*lexer).esearch,
	"SORT":         (*lexer).sort,
	"THREAD":       (*lexer).thread,
	"FETCH":        (*lexer).fetch,
	"STORE":        (*lexer).store,
	"COPY":         (*lexer).copyMessages,
	"MOVE":         (*lexer).copyMessages,
	"ENABLE":       (*lexer).enable,
	"ID":           (*lexer).id,
}

// uidSyntaxOf is the same for what may stand behind "UID".
var uidSyntaxOf = map[string]func(*lexer) (any, error){
	"REPLACE": (*lexer).replace,
	"SEARCH":  (*lexer).search,
	"SORT":    (*lexer).sort,
	"THREAD":  (*lexer).thread,
	"FETCH":   (*lexer).fetch,
	"STORE":   (*lexer).store,
	"COPY":    (*lexer).copyMessages,
	"MOVE":    (*lexer).copyMessages,
	"EXPUNGE": (*lexer).expunge,
}

// Parse reads a command. utf8 says that mailbox names are UTF-8. The
// error is a *SyntaxError with the command's tag, if it has one; the Command then
// holds what could be read.
func Parse(raw Raw, utf8 bool) (Command, error) {
	l := &lexer{text: raw.Text, literals: raw.Literals, utf8: utf8}
	var c Command
	err := l.command(&c)
	if e, ok := errors.AsType[*SyntaxError](err); ok {
		e.Tag = c.Tag
	}
	return c, err
}

func (l *lexer) command(c *Command) error {
	if tag := tagOf(l.text); tag != "" {
		c.Tag = tag
		l.pos = len(tag)
	} else {
		return syntax("A command begins with a tag and a space")
	}
	if err := l.space(); err != nil {
		return err
	}
	forms, err := l.commandName(c)
	if err != nil {
		return err
	}
	args, known := forms[c.Name]
	if !known {
		return syntax("Unknown command")
	}
	if args != nil {
		if c.Args, err = args(l); err != nil {
			c.Args = nil
			return err
		}
	}
	return l.end()
}

func (l *lexer) commandName(c *Command) (map[string]func(*lexer) (any, error), error) {
	var err error
	if c.Name, err = l.word(); err != nil {
		return nil, syntax("Missing command name")
	}
	if c.Name != "UID" {
		return syntaxOf, nil
	}
	if err := l.space(); err != nil {
		return nil, err
	}
	c.UID = true
	c.Name, err = l.word()
	return uidSyntaxOf, err
}

// argMailbox takes a space and a mailbox name.
func (l *lexer) argMailbox() (string, error) {
	if err := l.space(); err != nil {
		return "", err
	}
	return l.mailbox()
}

func (l *lexer) selectMailbox(readOnly bool) (any, error) {
	name, err := l.argMailbox()
	if err != nil {
		return nil, err
	}
	s := &Select{Mailbox: name, ReadOnly: readOnly, Given: l.given}
	if !l.accept(' ') || l.atEnd() {
		return s, nil
	}
	return s, l.list(maxItems, false, func() error { return l.selectParameter(s) })
}

func (l *lexer) deleteMailbox() (any, error) {
	name, err := l.argMailbox()
	return &Delete{name}, err
}

func (l *lexer) subscribe(on bool) (any, error) {
	name, err := l.argMailbox()
	return &Subscribe{name, on}, err
}

func (l *lexer) rename() (any, error) {
	from, err := l.argMailbox()
	if err != nil {
		return nil, err
	}
	to, err := l.argMailbox()
	return &Rename{from, to}, err
}

func (l *lexer) copyMessages() (any, error) {
	set, err := l.argSet()
	if err != nil {
		return nil, err
	}
	name, err := l.argMailbox()
	return &Copy{set, name}, err
}

func (l *lexer) expunge() (any, error) {
	set, err := l.argSet()
	return &Expunge{set}, err
}

func (l *lexer) enable() (any, error) {
	e := new(Enable)
	for {
		if err := l.space(); err != nil {
			return nil, err
		}
		w, err := l.word()
		if err != nil {
			return nil, err
		}
		if len(e.Names) == maxEnable {
			return nil, syntax("More than %d names in ENABLE", maxEnable)
		}
		e.Names = append(e.Names, w)
		if l.atEnd() {
			return e, nil
		}
	}
}

// ByNumber reports whether a command without UID names messages by their numbers:
// there is another with UID.
func (c *Command) ByNumber() bool {
	_, both := uidSyntaxOf[c.Name]
	return both && !c.UID && c.Name != "EXPUNGE"
}

// Commands are the names of all commands that Parse knows, those behind UID
// left out, sorted.
func Commands() []string { return slices.Sorted(maps.Keys(syntaxOf)) }
