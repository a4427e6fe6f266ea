package dev

import (
	"strings"
	"testing"
)

func TestScreenNamesTheProgramAsItWasCalled(t *testing.T) {
	l := Layout{Dir: "/d", Machines: []Machine{{Name: "m1", IMAP: "127.0.0.1:1"}, {Name: "m2", PID: 7}}, Users: sampleUsers()}
	for path, want := range map[string]string{
		"/tmp/go-build123/b001/exe/tandemail": "  go run ./cmd/tandemail machine drain m1 ",
		"/usr/local/bin/tandemail":            "  tandemail machine drain m1 ",
	} {
		var b strings.Builder
		if err := printScreen(&b, l, programName(path)); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), want) || !strings.Contains(b.String(), "kill -9 7") {
			t.Errorf("called as %s the screen says:\n%s", path, b.String())
		}
	}
}
