package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// cyrus is Debian's Cyrus with its defaults, as the user mail: no replication, no
// search indexes, no conversations.
type cyrus struct {
	dir, address string
	made         bool // its user is there
	process      *process
}

const cyrusBin = "/usr/lib/cyrus/bin/"

func newCyrus(ctx context.Context, dir, settings string) (server, error) {
	if err := unpack(ctx, dir, "cyrus-imapd"); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{"conf/db", "conf/socket", "conf/proc", "conf/lock", "conf/log", "conf/msg", "conf/user", "conf/quota", "conf/sync", "spool"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]string{"imapd.conf": imapdConf + settings, "cyrus.conf": cyrusConf} {
		text = strings.NewReplacer("DIR", dir, "PORT", portOf(address), "BIN", cyrusBin).Replace(text)
		if err := write(filepath.Join(dir, name), text); err != nil {
			return nil, err
		}
	}
	if out, err := exec.CommandContext(ctx, "chown", "-R", "mail:mail", filepath.Join(dir, "conf"), filepath.Join(dir, "spool")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("give the directories to mail: %w: %s", err, out)
	}
	return &cyrus{dir: dir, address: address}, nil
}

func (c *cyrus) start(ctx context.Context) (err error) {
	cmd := inside(ctx, c.dir, cyrusBin+"master", "-C", c.file("imapd.conf"), "-M", c.file("cyrus.conf"), "-p", c.file("pid"), "-l", "4096")
	cmd.Env = append(os.Environ(), "CYRUS_USER=mail")
	if c.process, err = run(c.dir, cmd); err != nil {
		return err
	}
	if err := c.process.await(ctx, c.address); err != nil || c.made {
		return err
	}
	admin, err := login(ctx, c.address, "cyrus", "secret")
	if err == nil {
		err = errors.Join(admin.do("CREATE user/bench"), admin.close())
	}
	c.made = err == nil
	return err
}

func (c *cyrus) file(name string) string { return filepath.Join(c.dir, name) }

func (c *cyrus) stop() error { return c.process.end(syscall.SIGQUIT) }

func (c *cyrus) doors() []door { return []door{{"Cyrus", c.address, "bench", "secret"}} }

func (c *cyrus) version() string { return "Cyrus " + version(c.dir, "cyrus-imapd") }

func (c *cyrus) root() int { return c.process.cmd.Process.Pid }

func (c *cyrus) storage() ([]int, error) { return processes(c.root()) }

const imapdConf = `configdirectory: DIR/conf
defaultpartition: default
partition-default: DIR/spool
servername: localhost
altnamespace: yes
unixhierarchysep: yes
hashimapspool: yes
admins: cyrus
cyrus_user: mail
cyrus_group: mail
allowplaintext: yes
sasl_pwcheck_method: alwaystrue
sasl_mech_list: PLAIN
popminpoll: 0
maxlogins_per_host: 0
maxlogins_per_user: 0
imapidlepoll: 60
lmtpsocket: DIR/conf/socket/lmtp
idlesocket: DIR/conf/socket/idle
notifysocket: DIR/conf/socket/notify
`

const cyrusConf = `START {
  recover cmd="BINctl_cyrusdb -C DIR/imapd.conf -r"
  idled   cmd="BINidled -C DIR/imapd.conf"
}
SERVICES {
  imap cmd="BINimapd -C DIR/imapd.conf -U 250" listen="127.0.0.1:PORT" prefork=2 maxchild=10000
}
EVENTS {
  checkpoint cmd="BINctl_cyrusdb -C DIR/imapd.conf -c" period=30
}
`

// cyrusForDialogues are settings to play dialogues with: what Cyrus can do and leaves
// off.
const cyrusForDialogues = `munge8bit: no
annotation_allow_undefined: yes
conversations: yes
delete_mode: immediate
`

// forget implements forgetful.
func (c *cyrus) forget(ctx context.Context) error {
	admin, err := login(ctx, c.address, "cyrus", "secret")
	if err != nil {
		return err
	}
	for _, user := range []string{"ann", "bob"} {
		if admin.do("SETACL user/%s cyrus x", user) == nil { // there is none at first
			err = errors.Join(err, admin.do("DELETE user/%s", user))
		}
		err = errors.Join(err, admin.do("CREATE user/%s", user))
	}
	return errors.Join(err, admin.close())
}
