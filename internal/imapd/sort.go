package imapd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// maxSortOctets bounds the keys of one SORT: some millions of dates, or half a million
// long subjects.
const maxSortOctets = 64 << 20

// sort is SORT and UID SORT (RFC 5256, 5957, 5267).
func (s *Session) sort(ctx context.Context, c *imapwire.Command, a *imapwire.Sort) (answer, error) {
	return s.searching(ctx, c, &a.Search, a.Criteria)
}

// order is uids as the criteria put them. errSortSize.
func (s *Session) order(ctx context.Context, id mail.MailboxID, uids mail.UIDSet, by []imapwire.SortCriterion) ([]mail.UID, error) {
	k := sortKeys{by: by, list: make([]sortKey, 0, uids.Len())}
	if err := s.summarize(ctx, id, uids, k.add); err != nil {
		return nil, fmt.Errorf("sort %d messages: %w", uids.Len(), err)
	}
	return k.order(), nil
}

// sortKeys are the keys of messages, one behind the other: they compare as octets.
type sortKeys struct {
	by     []imapwire.SortCriterion
	list   []sortKey
	octets []byte
}

type sortKey struct {
	head     uint64 // the key's first octets
	from, to uint32 // of all octets
	uid      mail.UID
}

// add appends a message's key. errSortSize.
func (k *sortKeys) add(m *summary) error {
	if len(k.octets) > maxSortOctets {
		return errSortSize
	}
	from := len(k.octets)
	k.octets = appendSortKey(k.octets, k.by, m)
	var head [8]byte
	copy(head[:], k.octets[from:])
	k.list = append(k.list, sortKey{binary.BigEndian.Uint64(head[:]), uint32(from), uint32(len(k.octets)), m.uid})
	return nil
}

// order sorts. Messages whose keys are the same stay in the order of their numbers
// (RFC 5256 3), REVERSE or not.
func (k *sortKeys) order() []mail.UID {
	slices.SortFunc(k.list, func(a, b sortKey) int {
		if a.head != b.head {
			return cmp.Compare(a.head, b.head)
		}
		if c := bytes.Compare(k.octets[a.from:a.to], k.octets[b.from:b.to]); c != 0 {
			return c
		}
		return cmp.Compare(a.uid, b.uid)
	})
	out := make([]mail.UID, len(k.list))
	for i := range k.list {
		out[i] = k.list[i].uid
	}
	return out
}

// appendSortKey appends a key that compares like the criteria: numbers big-endian with
// the sign turned, strings up to a zero octet, which is in none; all turned for REVERSE.
func appendSortKey(b []byte, by []imapwire.SortCriterion, m *summary) []byte {
	for _, c := range by {
		from := len(b)
		switch c.Key {
		case imapwire.SortArrival:
			b = appendSortNumber(b, int64(m.arrival))
		case imapwire.SortSize:
			b = appendSortNumber(b, m.size)
		case imapwire.SortDate:
			b = appendSortNumber(b, m.sent())
		default:
			b = appendSortText(b, m.text(c.Key))
		}
		if c.Reverse {
			for i := from; i < len(b); i++ {
				b[i] = ^b[i]
			}
		}
	}
	return b
}

func appendSortNumber(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(n)^1<<63)
}

func appendSortText(b []byte, text string) []byte {
	from := len(b)
	b = append(b, text...)
	for i := from; i < len(b); i++ {
		if b[i] == 0 {
			b[i] = 1
		}
	}
	return append(b, 0)
}

// sent is when the message was sent, in seconds: as its Date says, else when it
// arrived (RFC 5256 2.2).
func (m *summary) sent() int64 {
	if m.Sent.Valid {
		return m.Sent.Unix
	}
	return m.arrival.Time().Unix()
}

func (m *summary) text(k imapwire.SortKey) string {
	switch k {
	case imapwire.SortCc:
		return m.Cc
	case imapwire.SortDisplayFrom:
		return m.DisplayFrom
	case imapwire.SortDisplayTo:
		return m.DisplayTo
	case imapwire.SortFrom:
		return m.From
	case imapwire.SortTo:
		return m.To
	}
	return m.Subject
}
