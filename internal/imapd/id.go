package imapd

import (
	"context"

	"github.com/tandemail/tandemail/internal/imapwire"
)

// id is ID (RFC 2971). What the client says of itself is not kept.
func (s *Session) id(context.Context, *imapwire.Command) (answer, error) {
	line := `ID ("name" "Tandemail"`
	if s.cfg.Version != "" {
		line += ` "version" ` + string(imapwire.AppendString(nil, s.cfg.Version))
	}
	s.out.untagged(line + ")")
	return ok("ID completed"), nil
}
