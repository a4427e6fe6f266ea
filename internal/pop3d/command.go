package pop3d

import (
	"bytes"
	"context"
	"strconv"
)

// MaxLine bounds a command in octets, its end included (RFC 2449 4).
const MaxLine = 255

// command is one that a master executes. It takes from least to most numbers.
type command struct {
	least, most int
	run         func(s *Session, ctx context.Context, numbers []int) (string, error)
}

var commands = map[string]command{
	"STAT": {0, 0, (*Session).stat},
	"LIST": {0, 1, (*Session).list},
	"UIDL": {0, 1, (*Session).uidl},
	"RETR": {1, 1, (*Session).retrieve},
	"TOP":  {2, 2, (*Session).top},
	"DELE": {1, 1, (*Session).mark},
	"RSET": {0, 0, (*Session).reset},
	"NOOP": {0, 0, (*Session).noop},
	"QUIT": {0, 0, (*Session).quit},
}

// Known reports whether a line's command is one that a master executes.
func Known(line []byte) bool {
	name, _ := split(line)
	_, ok := commands[name]
	return ok
}

// Name is a line's command in upper case.
func Name(line []byte) string {
	name, _ := split(line)
	return name
}

func split(line []byte) (name string, args [][]byte) {
	words := bytes.Fields(line[:min(len(line), MaxLine)])
	if len(words) == 0 {
		return "", nil
	}
	return string(bytes.ToUpper(words[0])), words[1:]
}

// parse reads numbers.
func parse(args [][]byte, least, most int) ([]int, bool) {
	if len(args) < least || len(args) > most {
		return nil, false
	}
	var out []int
	for _, a := range args {
		n, err := strconv.ParseUint(string(a), 10, 31)
		if err != nil {
			return nil, false
		}
		out = append(out, int(n))
	}
	return out, true
}
