package etcd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// peerPatience is how long a peer may be out of reach, by etcd's prober, without a
// word: longer than a restart takes.
const peerPatience = 15 * time.Second

// neighbours tells of those at the other end: of connections that were refused, and
// of peers that are out of reach. Either is repeated many times a minute.
type neighbours struct {
	log    *slog.Logger
	spells spells
}

// level takes a line of etcd's. It says how loud that is, if it is of this kind,
// and whether it is.
func (n *neighbours) level(e entry, now time.Time) (slog.Level, bool) {
	switch e.message {
	case "rejected connection on client endpoint":
		n.refused("coordinator client refused", e, now)
	case "rejected connection on peer endpoint":
		n.refused("coordinator peer refused", e, now)
	case "prober detected unhealthy status":
		peer := fmt.Sprint(e.fields["remote-peer-id"], e.fields["round-tripper-name"])
		if n.spells.note(peer, now, peerPatience) {
			return slog.LevelWarn, true
		}
	default:
		return 0, false
	}
	return slog.LevelDebug, true
}

// refused puts a handshake that failed into a line of its own.
func (n *neighbours) refused(message string, e entry, now time.Time) {
	if brokeOff(e.err) {
		return
	}
	remote := fmt.Sprint(e.fields["remote-addr"])
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	if n.spells.note(message+host+kind(e.err), now, 0) {
		n.log.Warn(message, "remote", remote, "err", e.err)
	}
}

// brokeOff: the other end went away, or said nothing. It may do so.
func brokeOff(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "read" || op.Op == "write")
}

// kind is err without the time and the names in it.
func kind(err error) string {
	var bad *tls.CertificateVerificationError
	if errors.As(err, &bad) {
		return fmt.Sprintf("%T", bad.Err)
	}
	return fmt.Sprint(err)
}
