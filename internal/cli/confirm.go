package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
)

// errNotConfirmed ends a command that was asked not to go on.
var errNotConfirmed = errors.New("not confirmed; nothing was changed")

// confirm asks the person at standard input to go on, unless yes is given.
func (e *env) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	fmt.Fprintf(e.stderr, "%s Type yes to go on: ", question)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if strings.TrimSpace(line) == "yes" {
		return nil
	}
	if err != nil {
		return hinted{errNotConfirmed, "--yes confirms in a script"}
	}
	return errNotConfirmed
}

// confirmWord asks the person at standard input to go on by typing word.
func (e *env) confirmWord(word, question string) error {
	fmt.Fprintf(e.stderr, "\n%s Type the store's name to go on: ", question)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if strings.TrimSpace(line) == word {
		return nil
	}
	if err != nil {
		return hinted{errNotConfirmed, "--yes --expect REV confirms in a script"}
	}
	return errNotConfirmed
}

// operator names who runs this command, for the history: "operator root@m2".
func operator() string {
	name, host := "somebody", "somewhere"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return "operator " + name + "@" + host
}
