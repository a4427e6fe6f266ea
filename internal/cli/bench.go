package cli

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tandemail/tandemail/internal/bench"
	"github.com/tandemail/tandemail/internal/dev"
)

type benchCmd struct {
	LMTP benchLMTPCmd `cmd:"" name:"lmtp" help:"Deliver messages and measure."`
	IMAP benchIMAPCmd `cmd:"" name:"imap" help:"Read and change mail and measure."`
}

type benchLMTPCmd struct {
	Address     []string      `help:"LMTP servers, host:port. Default: those of the dev cluster." placeholder:"HOST:PORT"`
	To          []string      `help:"Recipients. Default: the dev cluster's users." placeholder:"USER"`
	Connections int           `help:"Connections." default:"64"`
	Duration    time.Duration `help:"How long." default:"10s"`
	Messages    int64         `help:"End after so many messages. Default: no limit." placeholder:"N"`
	Size        int           `help:"Octets of a message." default:"4096"`
	Rate        float64       `help:"Messages a second. Default: as fast as it goes." placeholder:"N"`
	Hot         bool          `help:"Everything to one recipient."`
	Progress    bool          `help:"A line a second on stderr."`
}

// Run delivers and prints the report.
func (c benchLMTPCmd) Run(e *env) error {
	cfg := bench.LMTPConfig{
		Addresses: c.Address, Recipients: c.To, Hot: c.Hot, From: "bench@example.test", Size: c.Size,
		Connections: c.Connections, Messages: c.Messages, Duration: c.Duration, Rate: c.Rate,
	}
	if c.Progress {
		cfg.Progress = e.stderr
	}
	if len(c.Address) == 0 || len(c.To) == 0 {
		l, err := e.devLayout("--address and --to")
		if err != nil {
			return err
		}
		if len(c.Address) == 0 {
			for _, m := range l.Machines {
				cfg.Addresses = append(cfg.Addresses, m.LMTP)
			}
		}
		if len(c.To) == 0 {
			for _, u := range l.Users {
				cfg.Recipients = append(cfg.Recipients, u.User)
			}
		}
	}
	r, err := bench.RunLMTP(e.ctx, cfg)
	return e.printReport(r, err)
}

type benchIMAPCmd struct {
	Address     []string      `help:"IMAP servers, host:port. Default: those of the dev cluster." placeholder:"HOST:PORT"`
	User        string        `help:"Log in as this user. Default: the dev cluster's users in turn." placeholder:"USER"`
	Password    string        `help:"The user's password." placeholder:"WORD" env:"TANDEMAIL_PASSWORD"`
	Mailbox     string        `help:"The mailbox." default:"INBOX"`
	Connections int           `help:"Connections." default:"16"`
	Duration    time.Duration `help:"How long." default:"10s"`
	Progress    bool          `help:"A line a second on stderr."`
}

// Run reads and writes and prints the report.
func (c benchIMAPCmd) Run(e *env) error {
	cfg := bench.IMAPConfig{Addresses: c.Address, Mailbox: c.Mailbox, Connections: c.Connections, Duration: c.Duration}
	if c.User != "" {
		cfg.Users = []bench.Login{{User: c.User, Password: c.Password}}
	}
	if c.Progress {
		cfg.Progress = e.stderr
	}
	if len(c.Address) == 0 || c.User == "" {
		l, err := e.devLayout("--address and --user")
		if err != nil {
			return err
		}
		if len(c.Address) == 0 {
			for _, m := range l.Machines {
				cfg.Addresses = append(cfg.Addresses, m.IMAP)
			}
		}
		if c.User == "" {
			for _, u := range l.Users {
				cfg.Users = append(cfg.Users, bench.Login{User: u.User, Password: u.Password})
			}
		}
	}
	r, err := bench.RunIMAP(e.ctx, cfg)
	return e.printReport(r, err)
}

// devLayout is the dev cluster's layout, for defaults.
func (e *env) devLayout(instead string) (dev.Layout, error) {
	if e.dir == "" {
		return dev.Layout{}, usageError{errors.New("give " + instead + ", or --dir of a dev cluster")}
	}
	return dev.Find(e.dir)
}

func (e *env) printReport(r bench.Report, err error) error {
	if err != nil {
		return err
	}
	var written error
	if err := e.print(r, func(w io.Writer) { written = r.WriteText(w) }); err != nil || written != nil {
		return errors.Join(err, written)
	}
	if n := r.Failed(); n > 0 {
		return fmt.Errorf("%d operations failed", n)
	}
	return nil
}
