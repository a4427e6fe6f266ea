package peers

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire/imaptest"
)

var (
	playDialogues = flag.Bool("dialogues", false, "play Tandemail's dialogues with Cyrus and Dovecot")
	dialogueFlag  = flag.String("dialogues.only", "*", "which files, as a pattern without .txt")
)

// forgetful is a server that plays one dialogue after another.
type forgetful interface {
	server
	// forget makes ann and bob anew, who have an INBOX.
	forget(ctx context.Context) error
}

// TestDialogues plays the dialogues of package imapd with other servers, as far as these
// announce what is needed. What is compared is what a comparison says; where servers may
// differ, a note in the dialogue says why.
func TestDialogues(t *testing.T) {
	if !*playDialogues {
		t.Skip("it fetches Debian's packages of Cyrus and Dovecot: it runs with the flag -dialogues")
	}
	files := dialogues(t, *dialogueFlag)
	root := workplace(t)
	for name, settings := range map[string]string{"cyrus": cyrusForDialogues, "dovecot": dovecotForDialogues} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(root, name)
			s, err := newServer(t.Context(), name, dir, options{settings: strings.ReplaceAll(settings, "DIR", dir)})
			if missing, ok := errors.AsType[*missingError](err); ok {
				t.Skip(missing)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := s.start(t.Context()); err != nil {
				t.Fatal(errors.Join(err, s.stop()))
			}
			defer func() {
				if err := s.stop(); err != nil {
					t.Error(err)
				}
			}()
			playAll(t, name, s.(forgetful), files)
		})
	}
}

// dialogues are the files that a pattern names.
func dialogues(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob("../../internal/imapd/testdata/" + pattern + ".txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues", err)
	}
	return files
}

func playAll(t *testing.T, name string, s forgetful, files []string) {
	var dialogues, commands, excused int
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			if err := s.forget(t.Context()); err != nil {
				t.Fatal(err)
			}
			announced, err := prepare(s.doors()[0].address)
			if err != nil {
				t.Fatal(err)
			}
			p := &player{
				server: name, file: file, announced: announced,
				dial:   func(session string) (*talk, error) { return enter(s.doors()[0].address, imaptest.UserOf(session)) },
				report: func(line int, text string) { t.Errorf("%s:%d: %s", filepath.Base(file), line, text) },
				remark: func(line int, text string) { t.Logf("%s:%d: %s", filepath.Base(file), line, text) },
			}
			err = p.play()
			why, stopped := errors.AsType[*unplayed](err)
			if err != nil && !stopped {
				t.Error(err)
			}
			if p.commands == 0 && stopped {
				t.Skip(why)
			}
			if stopped {
				t.Log("not played to its end:", why)
			}
			dialogues++
			commands += p.commands
			excused += p.excused
		})
	}
	t.Logf("%s: %d of %d dialogues, %d answers, %d of them may differ", s.version(), dialogues, len(files), commands, excused)
}

// uses are the mailboxes that every user of Tandemail has.
var uses = []string{"Archive", "Drafts", "Junk", "Sent", "Trash"}

// prepare gives both users what a new user of Tandemail has, and says what the server
// announces.
func prepare(address string) (map[string]bool, error) {
	announced := map[string]bool{}
	for _, user := range []string{"ann", "bob"} {
		t, err := enter(address, user)
		if err != nil {
			return nil, err
		}
		defer t.conn.Close()
		told, _, err := t.run("CAPABILITY")
		if err != nil {
			return nil, err
		}
		for word := range strings.FieldsSeq(strings.Join(told, " ")) {
			announced[word] = true
			name, _, _ := strings.Cut(word, "=")
			announced[name] = true
		}
		for _, use := range uses {
			// It may be there already, or its server know of no uses.
			if _, _, err := t.run(fmt.Sprintf(`CREATE %s (USE (\%s))`, use, use)); err != nil {
				return nil, err
			}
		}
		for _, box := range append(uses, "INBOX") {
			_, tagged, err := t.run("SUBSCRIBE " + box)
			if err == nil && !strings.HasPrefix(tagged, "OK") {
				err = fmt.Errorf("subscribe %s: %s", box, tagged)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return announced, nil
}

// enter logs in.
func enter(address, user string) (*talk, error) {
	nc, err := net.DialTimeout("tcp", address, wait)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	t := &talk{conn: nc, in: bufio.NewReaderSize(nc, 64<<10)}
	greeting, err := t.read(time.Now().Add(wait))
	if err == nil && !strings.HasPrefix(greeting, "* OK") {
		err = fmt.Errorf("greeting: %s", greeting)
	}
	tagged := "OK"
	if err == nil {
		_, tagged, err = t.run("LOGIN " + user + " secret")
	}
	if err == nil && !strings.HasPrefix(tagged, "OK") {
		err = fmt.Errorf("log in: %s", tagged)
	}
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return t, nil
}

// run runs a command outside of a dialogue.
func (t *talk) run(command string) (untagged []string, tagged string, err error) {
	if err := t.conn.SetWriteDeadline(time.Now().Add(wait)); err != nil {
		return nil, "", err
	}
	if _, err := t.conn.Write([]byte("outside " + command + "\r\n")); err != nil {
		return nil, "", err
	}
	for {
		text, err := t.read(time.Now().Add(wait))
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", command, err)
		}
		if tagged, ok := strings.CutPrefix(text, "outside "); ok {
			return untagged, tagged, nil
		}
		untagged = append(untagged, text)
	}
}
