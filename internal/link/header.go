package link

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/pki"
)

// ALPN names of the kinds of connection.
const (
	alpnMux = "tandemail-mux/1"
	alpnRaw = "tandemail-raw/1"
	// alpnGuest is for those who have no certificate yet.
	alpnGuest = "tandemail-guest/1"
)

const (
	headerVersion = 1
	maxService    = 64
	maxMeta       = 16 << 10
	maxRefusal    = 1 << 10
)

// Status of a header's answer.
const (
	statusOK      = 0
	statusUnknown = 1 // no such service here
	statusRefused = 2 // not now
	statusNotRead = 3 // version or form of the header not understood
)

// Peer is who is at the other end.
type Peer struct {
	Machine cluster.Machine
	Key     pki.KeyID
}

// Stream is one conversation with a service.
type Stream struct {
	net.Conn
	Peer    Peer
	Service string
	Meta    []byte // of the one who opened it; at most 16 KiB
}

// RefusedError is the answer of a peer that did not take a stream.
type RefusedError struct {
	Machine cluster.Machine
	Service string
	Reason  string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("machine %s refused service %q: %s", e.Machine, e.Service, e.Reason)
}

func appendHeader(dst []byte, service string, meta []byte) []byte {
	dst = append(dst, headerVersion, byte(len(service)))
	dst = append(dst, service...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(meta)))
	return append(dst, meta...)
}

func checkHeader(service string, meta []byte) error {
	if service == "" || len(service) > maxService || len(meta) > maxMeta {
		return fmt.Errorf("open service %q: name or %d octets of metadata out of bounds", service, len(meta))
	}
	return nil
}

func readHeader(r io.Reader) (service string, meta []byte, err error) {
	var b [maxService]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return "", nil, fmt.Errorf("read stream header: %w", err)
	}
	version, n := b[0], int(b[1])
	if version != headerVersion || n == 0 || n > maxService {
		return "", nil, fmt.Errorf("stream header of version %d with a name of %d octets: %w", version, n, ErrProtocol)
	}
	if _, err := io.ReadFull(r, b[:n]); err != nil {
		return "", nil, fmt.Errorf("read stream header: %w", err)
	}
	service = string(b[:n])
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return "", nil, fmt.Errorf("read stream header: %w", err)
	}
	m := int(binary.BigEndian.Uint16(size[:]))
	if m > maxMeta {
		return "", nil, fmt.Errorf("stream header with %d octets of metadata: %w", m, ErrProtocol)
	}
	meta = make([]byte, m)
	if _, err := io.ReadFull(r, meta); err != nil {
		return "", nil, fmt.Errorf("read stream header: %w", err)
	}
	return service, meta, nil
}

func appendAnswer(dst []byte, status byte, reason string) []byte {
	reason = reason[:min(len(reason), maxRefusal)]
	dst = append(dst, headerVersion, status)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(reason)))
	return append(dst, reason...)
}

func readAnswer(r io.Reader) (status byte, reason string, err error) {
	var h [4]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, "", fmt.Errorf("read answer to the stream header: %w", err)
	}
	n := int(binary.BigEndian.Uint16(h[2:]))
	if h[0] != headerVersion || h[1] > statusNotRead || n > maxRefusal {
		return 0, "", fmt.Errorf("answer to the stream header %x: %w", h, ErrProtocol)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, "", fmt.Errorf("read answer to the stream header: %w", err)
	}
	return h[1], string(b), nil
}
