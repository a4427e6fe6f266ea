package dev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"text/template"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/pki"
)

// clusterName is the name of every dev cluster.
const clusterName = "dev"

// prepare reads the layout of dir, or makes one. fresh says that it was made and
// the cluster has no stores yet; a first start that was interrupted is made anew.
func prepare(dir string) (l Layout, fresh bool, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return l, false, fmt.Errorf("find directory: %w", err)
	}
	l, err = Find(dir)
	if err == nil {
		return l, !exists(filepath.Join(dir, foundedFile)), nil
	}
	if exists(filepath.Join(dir, layoutFile)) {
		return l, false, err // it is there and unreadable
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return l, false, fmt.Errorf("make directory: %w", err)
	}
	l = Layout{Dir: dir, Users: sampleUsers()}
	if l.Machines, err = chooseMachines(); err != nil {
		return l, false, err
	}
	if _, err := pki.CreateCA(l.caDir(), clusterName, time.Now); err != nil && !errors.Is(err, fs.ErrExist) {
		return l, false, err
	}
	for _, m := range l.Machines {
		if err := l.ensureMachine(m); err != nil {
			return l, false, err
		}
	}
	return l, true, l.save()
}

// foundedFile marks that stores, users and sample mail are there.
const foundedFile = "founded"

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (l Layout) caDir() string { return filepath.Join(l.Dir, "ca") }

// chooseMachines gives the machines names and addresses. They are kept, so that a
// cluster started again is found where it was.
func chooseMachines() ([]Machine, error) {
	var machines []Machine
	for i := range machineCount {
		machines = append(machines, Machine{Name: cluster.Machine(fmt.Sprintf("m%d", i+1))})
	}
	perMachine := len(machines[0].addresses())
	addrs, err := ports(machineCount * perMachine)
	if err != nil {
		return nil, err
	}
	for i := range machines {
		for j, a := range machines[i].addresses() {
			*a.addr = addrs[i*perMachine+j]
		}
	}
	return machines, nil
}

// ensureMachine makes what a machine needs to start and does not have: all of it
// when its directory was deleted, as when a machine is replaced by an empty one.
func (l Layout) ensureMachine(m Machine) error {
	dir := l.machineDir(m)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory of %s: %w", m.Name, err)
	}
	pkiDir := filepath.Join(dir, "pki")
	if _, err := pki.Load(pkiDir); errors.Is(err, os.ErrNotExist) {
		if err := l.issue(m, pkiDir); err != nil {
			return fmt.Errorf("issue certificate of %s: %w", m.Name, err)
		}
	} else if err != nil {
		return err
	}
	path := filepath.Join(dir, configFile)
	if exists(path) {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write configuration of %s: %w", m.Name, err)
	}
	err = configTemplate.Execute(f, struct {
		Machine
		Cluster, Dir string
		All          []Machine
	}{m, clusterName, dir, l.Machines})
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write configuration of %s: %w", m.Name, err)
	}
	return nil
}

func (l Layout) issue(m Machine, dir string) error {
	ca, err := pki.LoadCA(l.caDir(), time.Now)
	if err != nil {
		return err
	}
	req, err := pki.NewRequest(dir, m.Name)
	if err != nil {
		return err
	}
	cert, _, _, err := ca.Sign(req)
	if err != nil {
		return err
	}
	if err := pki.Install(dir, cert, ca.CertPEM()); err != nil {
		return err
	}
	key, err := ca.KeyPEM()
	if err != nil {
		return err
	}
	return pki.InstallCA(dir, key)
}

const configFile = "tandemail.toml"

var configTemplate = template.Must(template.New(configFile).Parse(`# A machine of a dev cluster, as an operator would write it.
cluster = {{printf "%q" .Cluster}}
machine = {{printf "%q" .Name}}
meta = {{printf "%q" (print .Dir "/meta")}}
spool = {{printf "%q" (print .Dir "/spool")}}

[listen]
internal = {{printf "%q" .Internal}}
lmtp = {{printf "%q" .LMTP}}
imap = {{printf "%q" .IMAP}}
imap_local = {{printf "%q" .IMAPLocal}}
pop3 = {{printf "%q" .POP3}}
http = {{printf "%q" .HTTP}}

[pki]
dir = {{printf "%q" (print .Dir "/pki")}}

[client]
plaintext_auth = true

[control]
endpoints = [{{range $i, $m := .All}}{{if $i}}, {{end}}{{printf "%q" (print "https://" $m.EtcdC)}}{{end}}]

[control.member]
client = {{printf "%q" (print "https://" .EtcdC)}}
peer = {{printf "%q" (print "https://" .EtcdP)}}
initial = { {{- range $i, $m := .All}}{{if $i}}, {{end}}{{$m.Name}} = {{printf "%q" (print "https://" $m.EtcdP)}}{{end -}} }
`))
