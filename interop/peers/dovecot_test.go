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

// dovecot is Debian's Dovecot with its defaults: one file a message (sdbox), its
// index and cache files, no full-text search.
type dovecot struct {
	dir, address string
	process      *process
}

func newDovecot(ctx context.Context, dir, settings string) (server, error) {
	if err := unpack(ctx, dir, "dovecot-imapd"); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	d := &dovecot{dir: dir, address: address}
	for _, sub := range []string{"mail", "run", "state"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	if out, err := exec.CommandContext(ctx, "chown", "-R", "mail:mail", filepath.Join(dir, "mail")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("give the mail directory to mail: %w: %s", err, out)
	}
	text := strings.NewReplacer("DIR", dir, "PORT", portOf(address)).Replace(dovecotConf + settings)
	return d, write(filepath.Join(dir, "dovecot.conf"), text)
}

func (d *dovecot) start(ctx context.Context) (err error) {
	d.process, err = run(d.dir, inside(ctx, d.dir, "/usr/sbin/dovecot", "-F", "-c", filepath.Join(d.dir, "dovecot.conf")))
	if err != nil {
		return err
	}
	return d.process.await(ctx, d.address)
}

func (d *dovecot) stop() error { return d.process.end(syscall.SIGTERM) }

func (d *dovecot) doors() []door { return []door{{"Dovecot", d.address, "bench", "secret"}} }

func (d *dovecot) version() string { return "Dovecot " + version(d.dir, "dovecot-imapd") }

func (d *dovecot) root() int { return d.process.cmd.Process.Pid }

func (d *dovecot) storage() ([]int, error) { return processes(d.root()) }

const dovecotConf = `base_dir = DIR/run
state_dir = DIR/state
log_path = DIR/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = mail
default_internal_group = mail
default_login_user = nobody
first_valid_uid = 1
first_valid_gid = 1
mail_location = sdbox:DIR/mail/%u
mailbox_list_index = yes
mail_max_userip_connections = 100000
default_client_limit = 100000
default_process_limit = 10000
namespace inbox {
  inbox = yes
  separator = /
}
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=mail gid=mail home=DIR/mail/%u
}
service imap-login {
  service_count = 0
  process_min_avail = 2
  inet_listener imap {
    port = PORT
  }
  inet_listener imaps {
    port = 0
  }
}
service imap {
  process_limit = 10000
}
service auth {
  unix_listener auth-userdb {
    mode = 0666
  }
}
`

// dovecotForDialogues are settings to play dialogues with: plugins that Dovecot brings.
const dovecotForDialogues = `
mail_plugins = acl quota
mail_attribute_dict = file:%h/attributes
protocol imap {
  mail_plugins = $mail_plugins imap_acl imap_quota
  imap_metadata = yes
}
namespace inbox {
  mailbox Archive {
    special_use = \Archive
    auto = create
  }
  mailbox Drafts {
    special_use = \Drafts
    auto = create
  }
  mailbox Junk {
    special_use = \Junk
    auto = create
  }
  mailbox Sent {
    special_use = \Sent
    auto = create
  }
  mailbox Trash {
    special_use = \Trash
    auto = create
  }
}
namespace others {
  type = shared
  separator = /
  prefix = "Other Users/%%u/"
  location = sdbox:DIR/mail/%%u
  subscriptions = no
  list = children
}
plugin {
  acl = vfile
  acl_shared_dict = file:DIR/mail/shared
  quota = count:User quota
  quota_vsizes = yes
}
`

// forget implements forgetful.
func (d *dovecot) forget(context.Context) error {
	users, err := filepath.Glob(filepath.Join(d.dir, "mail", "*"))
	for _, dir := range users {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}
