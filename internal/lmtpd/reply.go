package lmtpd

import (
	"context"
	"errors"
	"strconv"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/line"
	"github.com/tandemail/tandemail/internal/mail"
)

// Reply is an SMTP reply of one line (RFC 5321 section 4.2, RFC 3463). As an
// error it travels through other layers and is answered as it is.
type Reply struct {
	Code     int    // 250, 451, 550 ...
	Enhanced string // "4.2.2"; may be empty
	Text     string // one plain sentence
}

// Error implements error.
func (r *Reply) Error() string { return string(r.appendTo(nil)) }

// maxReplyText keeps a reply line within the 512 octets of RFC 5321.
const maxReplyText = 480

func (r *Reply) appendTo(dst []byte) []byte {
	dst = strconv.AppendInt(dst, int64(r.Code), 10)
	dst = append(dst, ' ')
	if r.Enhanced != "" {
		dst = append(dst, r.Enhanced...)
		dst = append(dst, ' ')
	}
	for i := range min(len(r.Text), maxReplyText) {
		if b := r.Text[i]; b >= ' ' && b < 0x7f {
			dst = append(dst, b)
		} else {
			dst = append(dst, '?')
		}
	}
	return dst
}

var (
	replyTooLarge    = &Reply{552, "5.3.4", "message too large"}
	replyNoSpace     = &Reply{452, "4.3.1", "no space for the message, try again later"}
	replyMoving      = &Reply{451, "4.3.2", "mailbox is not available right now, try again later"}
	replyUnclear     = &Reply{451, "4.3.0", "not known whether the message was stored; sending it again is safe"}
	replyTemporary   = &Reply{451, "4.3.0", "temporary failure, try again later"}
	replyNoRcpt      = &Reply{503, "5.5.1", "no valid recipients"}
	replyNeedLHLO    = &Reply{503, "5.5.1", "say LHLO first"}
	replyNeedMail    = &Reply{503, "5.5.1", "say MAIL first"}
	replyNested      = &Reply{503, "5.5.1", "a transaction is open"}
	replyInBDAT      = &Reply{503, "5.5.1", "a message is being sent with BDAT"}
	replySyntax      = &Reply{501, "5.5.4", "bad argument"}
	replyBadParam    = &Reply{555, "5.5.4", "parameter not recognised"}
	replyTooManyRcpt = &Reply{452, "4.5.3", "too many recipients"}
	replyUnknown     = &Reply{500, "5.5.2", "command not recognised"}
	replyLineTooLong = &Reply{500, "5.5.6", "line too long"}
	replyNoUTF8      = &Reply{553, "5.6.7", "address needs SMTPUTF8"}
)

// replies maps the errors of the layers below, first match first.
var replies = []struct {
	err   error
	reply *Reply
}{
	{line.ErrTooLarge, replyTooLarge},
	{mail.ErrTooLarge, replyTooLarge},
	{errSpoolFull, replyNoSpace},
	{mail.ErrFull, replyNoSpace},
	{cluster.ErrFull, replyNoSpace},
	{mail.ErrNoAccount, &Reply{550, "5.1.1", "no such user"}},
	{mail.ErrOverQuota, &Reply{452, "4.2.2", "mailbox is full"}},
	{mail.ErrMoved, replyMoving},
	{mail.ErrFrozen, replyMoving},
	{mail.ErrBusy, replyMoving},
	{cluster.ErrNotMaster, replyMoving},
	{mail.ErrUnknown, replyUnclear},
	{cluster.ErrUnknown, replyUnclear},
	{context.DeadlineExceeded, &Reply{451, "4.4.1", "delivery took too long; sending it again is safe"}},
}

// replyTo finds the reply for err; known is false if there was no entry for it.
func replyTo(err error) (r *Reply, known bool) {
	if errors.As(err, &r) {
		return r, true
	}
	for _, m := range replies {
		if errors.Is(err, m.err) {
			return m.reply, true
		}
	}
	return replyTemporary, false
}
