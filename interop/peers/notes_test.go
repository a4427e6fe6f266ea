package peers

import (
	"fmt"
	"slices"
	"strings"
)

// note is a "#:" line of a dialogue, for one who plays it with another server:
//
//	#: needs SORT SORT=DISPLAY      only with servers that announce these
//	#: unsent dovecot: why          not sent to it, though it may announce it
//	#: differs dovecot cyrus: why   sent; what they answer may be something else
//	#: ends any: why                from here on nothing is played with any of them
//
// It is about the next command, or about what is told next without a command. Needs
// and ends before the first command are about the whole dialogue. Servers are
// dovecot, cyrus and any. What most commands need is known without a note: see needs.
type note struct {
	verb   string
	words  []string // servers, or capabilities
	reason string
}

const anyServer = "any"

func parseNote(text string) (note, error) {
	head, reason, _ := strings.Cut(text, ": ")
	f := strings.Fields(head)
	if len(f) < 2 {
		return note{}, fmt.Errorf("not a note: %s", text)
	}
	n := note{f[0], f[1:], reason}
	switch n.verb {
	case "needs":
		return n, nil
	case "unsent", "differs", "ends":
	default:
		return n, fmt.Errorf("no such note: %s", text)
	}
	for _, w := range n.words {
		if w != "dovecot" && w != "cyrus" && w != anyServer {
			return n, fmt.Errorf("a note of a server that is not played with: %s", text)
		}
	}
	if reason == "" {
		return n, fmt.Errorf("a note without a reason: %s", text)
	}
	return n, nil
}

// about says whether the note is about the server.
func (n note) about(server string) bool {
	return slices.Contains(n.words, server) || slices.Contains(n.words, anyServer)
}

// notes are those before one command.
type notes []note

// missing is the first capability that is needed and not announced.
func (ns notes) missing(announced map[string]bool) string {
	for _, n := range ns {
		for _, w := range n.words {
			if n.verb == "needs" && !announced[w] {
				return w
			}
		}
	}
	return ""
}

// find is the first note of a verb about the server.
func (ns notes) find(verb, server string) (note, bool) {
	i := slices.IndexFunc(ns, func(n note) bool { return n.verb == verb && n.about(server) })
	if i < 0 {
		return note{}, false
	}
	return ns[i], true
}
