package dev

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/pki"
)

func TestPreparedMachinesHaveAValidConfigurationAndIdentity(t *testing.T) {
	dir := t.TempDir()
	l, fresh, err := prepare(dir)
	if err != nil || !fresh || len(l.Machines) != machineCount || len(l.Users) != userCount {
		t.Fatalf("layout %+v, fresh %v, %v", l, fresh, err)
	}
	seen := map[string]bool{}
	for _, m := range l.Machines {
		c, err := config.Load(filepath.Join(l.machineDir(m), configFile))
		if err != nil {
			t.Fatal(err)
		}
		if c.Machine != string(m.Name) || len(c.Control.Endpoints) != machineCount || !c.Client.PlaintextAuth {
			t.Errorf("configuration of %s: %+v", m.Name, c)
		}
		id, err := pki.Load(c.PKI.Dir)
		if err != nil || id.Machine != m.Name {
			t.Errorf("identity of %s: %+v, %v", m.Name, id, err)
		}
		for _, a := range []string{m.LMTP, m.IMAP, m.HTTP, m.Internal, m.EtcdC, m.EtcdP} {
			if seen[a] {
				t.Errorf("address %s is given twice", a)
			}
			seen[a] = true
		}
	}
}

func TestLayoutIsKeptAndADeletedMachineIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	first, _, err := prepare(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := first.Machines[1]
	if err := os.RemoveAll(first.machineDir(m)); err != nil {
		t.Fatal(err)
	}
	again, _, err := prepare(dir)
	if err != nil || again.Machines[1] != m {
		t.Fatalf("machines %+v, %v, want them as before", again.Machines, err)
	}
	if err := again.ensureMachine(m); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(filepath.Join(again.machineDir(m), configFile)); err != nil {
		t.Error(err)
	}
}
