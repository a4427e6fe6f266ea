package imapd

import (
	"context"

	"github.com/tandemail/tandemail/internal/imapwire"
)

// handler executes one command. run writes untagged responses to s.out and
// returns the tagged one; its error is mapped by the table of errors.go.
type handler struct {
	run      func(s *Session, ctx context.Context, c *imapwire.Command) (answer, error)
	selected bool // a mailbox must be selected
	writes   bool // not if it is read-only
	removes  bool // messages go by it: then all that is new is told
	numbers  bool // its message numbers must stay valid: no EXPUNGE, but in UID commands
}

// with gives a handler its arguments' type.
func with[A any](f func(*Session, context.Context, *imapwire.Command, *A) (answer, error)) func(*Session, context.Context, *imapwire.Command) (answer, error) {
	return func(s *Session, ctx context.Context, c *imapwire.Command) (answer, error) {
		return f(s, ctx, c, c.Args.(*A))
	}
}

var handlers = map[string]handler{
	"CAPABILITY":   {run: (*Session).capability},
	"NOOP":         {run: (*Session).noop},
	"ID":           {run: (*Session).id},
	"ENABLE":       {run: with((*Session).enable)},
	"SELECT":       {run: with((*Session).selectMailbox)},
	"EXAMINE":      {run: with((*Session).selectMailbox)},
	"CREATE":       {run: with((*Session).create)},
	"DELETE":       {run: with((*Session).deleteMailbox)},
	"RENAME":       {run: with((*Session).rename)},
	"SUBSCRIBE":    {run: with((*Session).subscribe)},
	"UNSUBSCRIBE":  {run: with((*Session).subscribe)},
	"LIST":         {run: with((*Session).list)},
	"LSUB":         {run: with((*Session).list)},
	"NAMESPACE":    {run: (*Session).namespace},
	"STATUS":       {run: with((*Session).status)},
	"APPEND":       {run: with((*Session).appendMessages)},
	"GENURLAUTH":   {run: with((*Session).genURLAuth)},
	"RESETKEY":     {run: with((*Session).resetKey)},
	"URLFETCH":     {run: with((*Session).urlFetch)},
	"IDLE":         {run: (*Session).runIdle},
	"ESEARCH":      {run: with((*Session).esearch), numbers: true},
	"GETQUOTA":     {run: with((*Session).getQuota)},
	"GETQUOTAROOT": {run: with((*Session).getQuotaRoot)},
	"SETQUOTA":     {run: with((*Session).setQuota)},
	"SETACL":       {run: with((*Session).setACL)},
	"DELETEACL":    {run: with((*Session).setACL)},
	"GETACL":       {run: with((*Session).getACL)},
	"LISTRIGHTS":   {run: with((*Session).listRights)},
	"MYRIGHTS":     {run: with((*Session).myRights)},
	"NOTIFY":       {run: with((*Session).notifyCommand)},
	"GETMETADATA":  {run: with((*Session).getMetadata)},
	"SETMETADATA":  {run: with((*Session).setMetadata)},

	"CHECK":        {run: (*Session).noop, selected: true},
	"CLOSE":        {run: (*Session).closeMailbox, selected: true},
	"UNSELECT":     {run: (*Session).unselect, selected: true},
	"EXPUNGE":      {run: (*Session).expunge, selected: true, writes: true, removes: true},
	"REPLACE":      {run: with((*Session).replace), selected: true, writes: true, removes: true},
	"SEARCH":       {run: with((*Session).search), selected: true, numbers: true},
	"CANCELUPDATE": {run: with((*Session).cancelUpdate), selected: true},
	"SORT":         {run: with((*Session).sort), selected: true, numbers: true},
	"THREAD":       {run: with((*Session).thread), selected: true, numbers: true},
	"FETCH":        {run: with((*Session).fetch), selected: true, numbers: true},
	"STORE":        {run: with((*Session).store), selected: true, writes: true, numbers: true},
	"COPY":         {run: with((*Session).copyMessages), selected: true},
	"MOVE":         {run: with((*Session).moveMessages), selected: true, writes: true, removes: true},
}
