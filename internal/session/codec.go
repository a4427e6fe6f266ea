package session

import (
	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/mail"
)

// ErrMalformed means octets that no Append function of this package has written.
var ErrMalformed = fields.ErrMalformed

// MaxRanges bounds the ranges of a UID set, so that a unit's delta always fits
// its frame.
const MaxRanges = 50_000

// maxName bounds users, addresses, tags and texts, in octets.
const maxName = 1024

// decoder takes off octets what this package appends.
type decoder struct{ *fields.Decoder }

func newDecoder(b []byte) decoder { return decoder{fields.NewDecoder(b)} }

func (d decoder) u63() uint64      { return uint64(d.Size()) }
func (d decoder) set() mail.UIDSet { return d.Set(MaxRanges) }
