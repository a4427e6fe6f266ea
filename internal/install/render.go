package install

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"github.com/tandemail/tandemail/internal/config"
)

// page is the configuration that an operator finds and goes on with.
var page = template.Must(template.New("tandemail.toml").Parse(`# This machine's part of a Tandemail cluster. The daemon reads it when it starts;
# ` + "`tandemail serve --check`" + ` reads it and starts nothing. docs/configuration.md
# has every key. Users and stores are not here: see ` + "`tandemail --help`" + `.

# The site's name, the same on every machine, and this machine's. Both are part of
# what is on disk: they stay.
cluster = {{printf "%q" .Cluster}}
machine = {{printf "%q" .Machine}}

# What fails together: a rack, a room. Two copies of a store are never in one zone.
zone = {{printf "%q" .Zone}}

# storage keeps mail, front serves MTAs and clients, control may lead the cluster
# and lets machines join.
roles = [{{range $i, $r := .Roles}}{{if $i}}, {{end}}{{printf "%q" $r}}{{end}}]

# The fast disk: journals, indexes, this machine's key. And the big one: mail.
meta = {{printf "%q" .Meta}}
spool = {{printf "%q" .Spool}}

[listen]
# For the other machines only, by mutual TLS.
internal = {{printf "%q" .Internal}}
{{- if .LMTP}}
# For MTAs. In Postfix: virtual_transport = lmtp:inet:{{.LMTP}}
lmtp = {{printf "%q" .LMTP}}
{{- end}}
{{- if .IMAP}}
# For mail clients. Beside imap there are imaps, pop3 and pop3s.
imap = {{printf "%q" .IMAP}}
{{- end}}
# For ` + "`tandemail --api`" + ` and scripts on this host: it asks nobody who they are.
http = {{printf "%q" .HTTP}}
{{- if .IMAP}}

[client]
# Without these two, clients are not offered TLS, and may not log in but from this
# host. The file may have the whole chain.
# certificate = "/etc/tandemail/imap.pem"
# key = "/etc/tandemail/imap.key"
{{- end}}
{{- if .LMTP}}

[mail]
# MTAs on other hosts that may say whom they speak for (XFORWARD).
# trusted = ["192.0.2.0/24"]
{{- end}}

[control]
# The coordinator's members on the day this was written. Later ones are found by
# themselves.
endpoints = [{{range $i, $e := .Endpoints}}{{if $i}}, {{end}}{{printf "%q" $e}}{{end}}]
{{- with .Etcd}}
{{- if .CA}}
# An etcd of the site's own: who signed its members' certificates, and this host's
# certificate for it.
ca = {{printf "%q" .CA}}
{{- end}}
{{- if .Certificate}}
certificate = {{printf "%q" .Certificate}}
key = {{printf "%q" .Key}}
{{- end}}
{{- end}}
{{- if .Client}}

[control.member]
# This machine's member of the coordinator. It joins the others; it never founds a
# cluster, so a disk that comes back empty does no harm.
client = {{printf "%q" .Client}}
peer = {{printf "%q" .Peer}}
{{- end}}
`))

// render writes the configuration and reads it back: it is valid.
func (p Plan) render(endpoints []string, member bool) ([]byte, *config.Config, error) {
	v := struct {
		Plan
		Internal, LMTP, IMAP, HTTP, Client, Peer string
		Endpoints                                []string
	}{Plan: p, Internal: p.at(p.Ports.Internal), HTTP: p.http(), Endpoints: endpoints}
	if p.has(config.RoleFront) {
		if p.Ports.LMTP != 0 {
			v.LMTP = p.at(p.Ports.LMTP)
		}
		if p.Ports.IMAP != 0 {
			v.IMAP = p.at(p.Ports.IMAP)
		}
	}
	if member {
		v.Client, v.Peer = p.memberURL(0), p.memberURL(1)
	}
	if len(v.Endpoints) == 0 && p.Etcd != nil {
		v.Endpoints = p.Etcd.Endpoints
	}
	if len(v.Endpoints) == 0 {
		v.Endpoints = []string{p.memberURL(0)}
	}
	var b bytes.Buffer
	if err := page.Execute(&b, v); err != nil {
		return nil, nil, fmt.Errorf("write configuration: %w", err)
	}
	c, err := config.Parse(p.Config, b.Bytes())
	return b.Bytes(), c, err
}

func (p Plan) memberURL(n int) string { return "https://" + p.at(p.Ports.Member+n) }

// writeConfig writes a new file. It is no secret: keys are elsewhere.
func writeConfig(path string, b []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make directory of the configuration: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}
