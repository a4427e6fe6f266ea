package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
)

type userCmd struct {
	Add      userAddCmd      `cmd:"" help:"Add a user."`
	Set      userSetCmd      `cmd:"" help:"Change what is said of a user."`
	ACL      userACLCmd      `cmd:"" name:"acl" help:"Show who may do what with a user's mailboxes, and say so."`
	Password userPasswordCmd `cmd:"" help:"Set a user's password. What they remember of the old one ends at once; sessions go on."`
	List     userListCmd     `cmd:"" help:"List users."`
	Delete   userDeleteCmd   `cmd:"" help:"Delete a user. Until the retention time is over, undelete --account brings them back."`
	Where    userWhereCmd    `cmd:"" help:"Show where a user lives and who serves them now."`
	Thaw     userThawCmd     `cmd:"" help:"Let a user's account take changes and mail again that was frozen with a skipped operation."`
	Undelete userUndeleteCmd `cmd:"" help:"Bring back what was deleted: messages, mailboxes, or the whole user."`
	History  userHistoryCmd  `cmd:"" help:"Show who changed what in a user's account."`
	Purge    userPurgeCmd    `cmd:"" help:"Remove for good, at once, what was deleted."`
}

type userAddCmd struct {
	Address  string `arg:"" help:"user@domain"`
	Password string `help:"The password, or '-' to read it from standard input." placeholder:"WORD" env:"TANDEMAIL_PASSWORD"`
	Store    string `help:"The store to live on. Default: the one with the fewest users." placeholder:"STORE"`
	Shared   bool   `help:"The account is nobody's own: it needs no password, and those with rights find its mailboxes below Shared/."`
}

// Run adds the user and prints the entry.
func (c userAddCmd) Run(e *env) error {
	var password string
	var err error
	if !c.Shared || c.Password != "" {
		if password, err = readPassword(c.Password); err != nil {
			return err
		}
	}
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	u, err := cl.AddUser(e.ctx, api.NewUser{Address: c.Address, Password: password, Store: cluster.Store(c.Store), Shared: c.Shared})
	if err != nil {
		return err
	}
	return e.print(u, func(w io.Writer) { fmt.Fprintf(w, "%s lives on store %s\n", u.Address, u.Store) })
}

// readPassword takes the flag's value, or for "-" a line of standard input.
func readPassword(flag string) (string, error) {
	if flag == "-" {
		b, err := io.ReadAll(io.LimitReader(os.Stdin, 1<<10))
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		flag = strings.TrimRight(string(b), "\r\n")
	}
	if flag == "" {
		return "", usageError{errors.New("a user needs a password: give --password")}
	}
	return flag, nil
}

type userSetCmd struct {
	Address string `arg:"" help:"user@domain"`
	Shared  *bool  `help:"The account is nobody's own: those with rights find its mailboxes below Shared/." negatable:""`
}

// Run changes the entry.
func (c userSetCmd) Run(e *env) error {
	if c.Shared == nil {
		return usageError{errors.New("say what to change: --shared or --no-shared")}
	}
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	u, err := cl.ChangeUser(e.ctx, c.Address, api.UserChange{Shared: c.Shared, By: operator()})
	if err != nil {
		return err
	}
	return e.print(u, func(w io.Writer) {
		if u.Shared {
			fmt.Fprintf(w, "mailboxes of %s are below Shared/\n", u.Address)
			return
		}
		fmt.Fprintf(w, "mailboxes of %s are below Other Users/\n", u.Address)
	})
}

type userPasswordCmd struct {
	Address  string `arg:"" help:"user@domain"`
	Password string `help:"The password, or '-' to read it from standard input." placeholder:"WORD" env:"TANDEMAIL_PASSWORD"`
}

// Run sets the password.
func (c userPasswordCmd) Run(e *env) error {
	password, err := readPassword(c.Password)
	if err != nil {
		return err
	}
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	u, err := cl.SetPassword(e.ctx, c.Address, api.PasswordRequest{Password: password, By: operator()})
	if err != nil {
		return err
	}
	return e.print(u, func(w io.Writer) { fmt.Fprintf(w, "%s has a new password\n", u.Address) })
}

type userListCmd struct {
	Deleted bool `help:"List the users who were deleted and can come back."`
}

// Run prints every user.
func (c userListCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	if c.Deleted {
		users, err := cl.DeletedUsers(e.ctx)
		if err != nil {
			return err
		}
		return e.print(users, func(w io.Writer) {
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "USER\tSTORE\tDELETED\tBY\tUNTIL\tACCOUNT")
			for _, u := range users {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", u.Address, u.Store, when(u.At), u.By, when(u.Until), u.Account)
			}
			t.Flush()
		})
	}
	users, err := cl.Users(e.ctx)
	if err != nil {
		return err
	}
	return e.print(users, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "USER\tSTORE\tSTATE\tACCOUNT")
		for _, u := range users {
			state := u.State
			if u.Shared {
				state += ", shared"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", u.Address, u.Store, state, u.Account)
		}
		t.Flush()
	})
}

type userDeleteCmd struct {
	Address string `arg:"" help:"user@domain"`
}

// Run deletes the user.
func (c userDeleteCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	if err := cl.DeleteUser(e.ctx, c.Address, operator()); err != nil {
		return err
	}
	return e.print(struct{}{}, func(w io.Writer) { fmt.Fprintf(w, "%s deleted\n", c.Address) })
}

type userWhereCmd struct {
	Address string `arg:"" help:"user@domain, an alias or a sub-address"`
}

// Run prints the user's store and its master.
func (c userWhereCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	u, err := cl.WhereUser(e.ctx, c.Address)
	if err != nil {
		return err
	}
	return e.print(u, func(w io.Writer) {
		fmt.Fprintf(w, "%s lives on store %s, served by %s\n", u.Address, u.Store, orNone(string(u.Master)))
	})
}

type userThawCmd struct {
	Address string `arg:"" help:"user@domain"`
	Reason  string `help:"Why, for the history." default:"asked for by hand"`
}

// Run thaws the account.
func (c userThawCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	u, err := cl.ThawUser(e.ctx, c.Address, api.ThawRequest{By: operator(), Reason: c.Reason})
	if err != nil {
		return err
	}
	return e.print(u, func(w io.Writer) { fmt.Fprintf(w, "%s takes changes and mail again\n", u.Address) })
}

func orNone(s string) string {
	if s == "" {
		return "nobody now"
	}
	return s
}
