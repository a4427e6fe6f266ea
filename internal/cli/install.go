package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/enrol"
	"github.com/tandemail/tandemail/internal/install"
)

// hostFlags describe this host, for both ways to make it a machine.
type hostFlags struct {
	Name    string `help:"The machine's name. Default: the host's." placeholder:"NAME"`
	Address string `help:"The IP address at which others reach this host. Default: its only one." placeholder:"IP"`
	Zone    string `help:"What fails together with it, such as a rack. Default: the machine's name." placeholder:"ZONE"`

	Config string `help:"The configuration to write." default:"/etc/tandemail/tandemail.toml" type:"path" placeholder:"FILE"`
	Meta   string `help:"Directory on the fast disk." default:"/var/lib/tandemail/meta" type:"path" placeholder:"DIR"`
	Spool  string `help:"Directory on the big disk." default:"/var/lib/tandemail/spool" type:"path" placeholder:"DIR"`
	User   string `help:"The user that the daemon runs as. Default: tandemail, if this is root and there is one." placeholder:"USER"`

	InternalPort int `help:"Port for the other machines." default:"7700"`
	LMTPPort     int `help:"Port for MTAs; 0 is none." default:"24" name:"lmtp-port"`
	IMAPPort     int `help:"Port for mail clients; 0 is none." default:"143" name:"imap-port"`
	HTTPPort     int `help:"Port of the API, on loopback." default:"8025" name:"http-port"`
	MemberPort   int `help:"Port of the coordinator; the next one is taken too." default:"2379"`

	EtcdCA          string `help:"For an etcd of the site's own: the certificate of the CA that signed its members'." name:"etcd-ca" type:"path" placeholder:"FILE"`
	EtcdCertificate string `help:"This host's certificate for it, if it asks for one." type:"path" placeholder:"FILE"`
	EtcdKey         string `help:"Its key." type:"path" placeholder:"FILE"`

	DryRun bool `help:"Print the plan and do nothing."`
}

// plan fills in what was not said.
func (f hostFlags) plan(roles []string) (install.Plan, error) {
	p := install.Plan{
		Machine: f.Name, Zone: f.Zone, Roles: roles, Address: f.Address, Config: f.Config, Meta: f.Meta, Spool: f.Spool, Owner: f.User,
		Ports: install.Ports{Internal: f.InternalPort, LMTP: f.LMTPPort, IMAP: f.IMAPPort, HTTP: f.HTTPPort, Member: f.MemberPort},
	}
	if f.EtcdCA != "" || f.EtcdCertificate != "" {
		p.Etcd = &install.Etcd{CA: f.EtcdCA, Certificate: f.EtcdCertificate, Key: f.EtcdKey}
	}
	if p.Machine == "" {
		if p.Machine = install.Hostname(); p.Machine == "" {
			return p, usageError{errors.New("this host's name can be no machine's: give --name")}
		}
	}
	if p.Zone == "" {
		p.Zone = p.Machine
	}
	if p.Owner == "" {
		p.Owner = daemonUser()
	}
	if p.Address == "" {
		address, err := install.OnlyAddress()
		if err != nil {
			return p, usageError{fmt.Errorf("%w: give --address", err)}
		}
		p.Address = address
	}
	return p, nil
}

// daemonUser is the packages' user, where root installs and that exists.
func daemonUser() string {
	const name = "tandemail"
	if _, err := user.Lookup(name); err != nil || os.Geteuid() != 0 {
		return ""
	}
	return name
}

type initCmd struct {
	Cluster string   `help:"The site's name, the same on every machine for ever." default:"tandemail" placeholder:"NAME"`
	Roles   []string `help:"What the machine does: storage, front, control." default:"storage,front,control" placeholder:"ROLE"`
	Etcd    []string `help:"Client URLs of an etcd of the site's own, which then is the coordinator. Default: the machines with the role control run it." placeholder:"URL"`
	hostFlags
}

// Run makes the first machine.
func (c initCmd) Run(e *env) error {
	p, err := c.plan(c.Roles)
	if err != nil {
		return err
	}
	p.Cluster = c.Cluster
	if len(c.Etcd) > 0 {
		if p.Etcd == nil {
			p.Etcd = new(install.Etcd)
		}
		p.Etcd.Endpoints = c.Etcd
	}
	e.showPlan("A new cluster "+p.Cluster+", with this host as its first machine", p)
	if c.DryRun {
		return e.planOnly(p, p.Check(e.ctx))
	}
	if err := install.Init(e.ctx, p, time.Now, e.quietLog()); err != nil {
		return inTheWay(err)
	}
	return e.print(p, func(w io.Writer) {
		fmt.Fprintf(w, "\nCluster %s is founded, with machine %s.\n\nNext:\n", p.Cluster, p.Machine)
		steps(w, [][2]string{
			{serveStep(p), "start it"},
			{"tandemail token create" + apiFlag(p), "a token for the next machine, which runs: tandemail join TOKEN"},
			{"tandemail store create" + apiFlag(p), "when the machines have joined: where mail lives"},
			{"tandemail user add USER@DOMAIN --password -" + apiFlag(p), "and who has some"},
		})
		fmt.Fprintf(w, "\nThe key of the cluster's CA is in %s. Keep a copy of it in a safe place.\n", filepath.Join(p.Meta, "pki", "ca.key"))
	})
}

type joinCmd struct {
	Token string   `arg:"" help:"What token create printed, or '-' to read it from standard input."`
	Roles []string `help:"What the machine does: storage, front, control. Default: what the token allows." placeholder:"ROLE"`
	hostFlags
}

// Run makes this host a machine of the token's cluster.
func (c joinCmd) Run(e *env) error {
	text := c.Token
	if text == "-" {
		b, err := io.ReadAll(io.LimitReader(os.Stdin, 8<<10))
		if err != nil {
			return fmt.Errorf("read token: %w", err)
		}
		text = string(b)
	}
	t, err := enrol.ParseToken(text)
	if err != nil {
		return hinted{err, "make one on a machine of the cluster: tandemail token create"}
	}
	p, err := c.plan(c.Roles)
	if err != nil {
		return err
	}
	e.showPlan("This host joins the cluster at "+strings.Join(t.Addresses, ", "), p)
	if c.DryRun {
		return e.planOnly(p, p.Check(e.ctx))
	}
	j, err := install.Join(e.ctx, p, t)
	var no *enrol.Refusal
	switch {
	case errors.As(err, &no) && no.Hint != "":
		return hinted{err, no.Hint}
	case err != nil:
		return inTheWay(err)
	}
	return e.print(j, func(w io.Writer) {
		fmt.Fprintf(w, "\nMachine %s is in cluster %s. Roles: %s.\n", j.Machine, j.Cluster, strings.Join(j.Roles, ", "))
		if j.Member {
			fmt.Fprintf(w, "It runs a member of the coordinator, which gets its vote when that makes their number odd (%d before).\n", len(j.Endpoints))
		}
		fmt.Fprintln(w, "\nNext:")
		steps(w, [][2]string{
			{serveStep(j.Plan), "start it"},
			{"tandemail status" + apiFlag(j.Plan), "see it"},
		})
	})
}

// showPlan prints the plan first; with --json it is part of the answer.
func (e *env) showPlan(what string, p install.Plan) {
	if e.json {
		return
	}
	roles := strings.Join(p.Roles, ", ")
	if roles == "" {
		roles = "those of the token"
	}
	owner := p.Owner
	if owner == "" {
		owner = "the user who runs this"
	}
	fmt.Fprintf(e.stdout, "%s:\n\n", what)
	for _, l := range [][2]string{
		{"machine", p.Machine + ", zone " + p.Zone},
		{"roles", roles},
		{"address", fmt.Sprintf("%s, ports %s", p.Address, ports(p.Ports))},
		{"configuration", p.Config},
		{"fast disk", p.Meta},
		{"big disk", p.Spool},
		{"files of", owner},
	} {
		fmt.Fprintf(e.stdout, "  %-14s %s\n", l[0], l[1])
	}
}

func ports(p install.Ports) string {
	return fmt.Sprintf("%d (machines), %d (LMTP), %d (IMAP), %d and %d (coordinator); API on 127.0.0.1:%d", p.Internal, p.LMTP, p.IMAP, p.Member, p.Member+1, p.HTTP)
}

// planOnly ends a dry run.
func (e *env) planOnly(p install.Plan, err error) error {
	if err != nil {
		return inTheWay(err)
	}
	return e.print(p, func(w io.Writer) { fmt.Fprintln(w, "\nNothing is in the way. Without --dry-run it will be done.") })
}

func inTheWay(err error) error {
	return hinted{err, "nothing that was there has been changed; --dry-run shows the plan and what is in its way"}
}

func steps(w io.Writer, list [][2]string) {
	for _, s := range list {
		fmt.Fprintf(w, "  %-56s # %s\n", s[0], s[1])
	}
}

// serveStep starts the daemon: by its unit where the packages put one.
func serveStep(p install.Plan) string {
	if p.Config == defaultConfig {
		if _, err := os.Stat("/lib/systemd/system/tandemail.service"); err == nil {
			return "systemctl enable --now tandemail"
		}
		return "tandemail serve"
	}
	return "tandemail serve --config " + p.Config
}

// apiFlag is what commands on this host need to find the machine.
func apiFlag(p install.Plan) string {
	if p.Config == defaultConfig {
		return ""
	}
	return " --api http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Ports.HTTP))
}

// quietLog tells of what a person should know.
func (e *env) quietLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// defaultConfig is where the configuration of a real machine is.
const defaultConfig = "/etc/tandemail/tandemail.toml"

// hostAPI is the API of the machine that this host is, "" if it is none.
func hostAPI() string {
	c, err := config.Load(defaultConfig)
	if err != nil || c.Listen.HTTP == "" {
		return ""
	}
	return "http://" + c.Listen.HTTP
}
