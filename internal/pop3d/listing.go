package pop3d

import (
	"context"
	"fmt"
	"strconv"
)

// stat is STAT.
func (s *Session) stat(context.Context, []int) (string, error) {
	count, octets := 0, int64(0)
	s.drop.each(func(_ int, e entry) {
		count++
		octets += int64(e.size)
	})
	return fmt.Sprintf("+OK %d %d", count, octets), nil
}

// list is LIST: of one message a line, else of each.
func (s *Session) list(ctx context.Context, numbers []int) (string, error) {
	return s.listing(ctx, numbers, func(dst []byte, e entry) []byte { return strconv.AppendUint(dst, uint64(e.size), 10) })
}

// uidl is UIDL.
func (s *Session) uidl(ctx context.Context, numbers []int) (string, error) {
	return s.listing(ctx, numbers, s.drop.appendUIDL)
}

func (s *Session) listing(ctx context.Context, numbers []int, what func(dst []byte, e entry) []byte) (string, error) {
	if len(numbers) == 1 {
		e, err := s.drop.at(numbers[0])
		if err != nil {
			return "", err
		}
		return string(what(fmt.Appendf(nil, "+OK %d ", numbers[0]), e)), nil
	}
	out := []byte("+OK\r\n")
	s.drop.each(func(n int, e entry) {
		out = append(strconv.AppendUint(out, uint64(n), 10), ' ')
		out = append(what(out, e), "\r\n"...)
	})
	return "", s.out.unit(ctx, append(out, ".\r\n"...))
}
