package host

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/imapd"
	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
	"github.com/tandemail/tandemail/internal/spool"
)

// Service is the name of the link service. The metadata of its streams is the name
// of the account's store.
const Service = "session"

// Slot is what a host needs of a slot.
type Slot interface {
	// Account gives the account with that id, which need not exist.
	Account(id mail.AccountID) mail.Account
	// Standing says whether the slot is master. It never blocks.
	Standing() Standing
}

// Standing is a slot's place in its store, as it knows it.
type Standing struct {
	Serving bool            // as master
	Epoch   cluster.Epoch   // served, or adopted
	Known   cluster.Epoch   // the highest heard of
	Master  cluster.Machine // in Known; "" if not known
	Since   time.Duration   // how long it has been serving Epoch
}

// Config says what a Host does. Slot, Spool and Log are required; zero elsewhere
// means the value named.
type Config struct {
	// Slot finds the slot of a store on this machine.
	Slot  func(cluster.Store) (Slot, error)
	Spool *spool.Dir // for literals above 256 KiB
	// Others is what a session sees of other users and their accounts; nil: nothing.
	Others  func(session.Open) imapd.Others
	Log     *slog.Logger
	Version string           // told to clients by ID; not told
	Now     func() time.Time // time.Now

	MaxSessions int // at a time; 50,000; more are refused for now
}

// What a session costs while it is idle is mostly these buffers.
const (
	readBuffer = 1 << 10
	writeQueue = 8 << 10
)

const (
	openTimeout   = 10 * time.Second // until Open has come
	literalMemory = 256 << 10
)

func (c Config) withDefaults() (Config, error) {
	if c.Slot == nil || c.Spool == nil || c.Log == nil {
		return c, errors.New("session host: Slot, Spool and Log are required")
	}
	c.MaxSessions = cmp.Or(c.MaxSessions, 50_000)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

// Frames bounds the frames of a session's stream, at either end. Both keep few
// octets, since most sessions are idle.
func Frames() link.FramesConfig {
	return link.FramesConfig{MaxFrame: session.MaxFrame, ReadBuffer: readBuffer, WriteQueue: writeQueue}
}

func limits() imapwire.Limits {
	return imapwire.Limits{Message: mail.MaxMessageSize, Memory: literalMemory}
}
