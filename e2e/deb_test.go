package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDebianPackageHasWhatAHostNeedsAndIsReproducible builds it twice.
func TestDebianPackageHasWhatAHostNeedsAndIsReproducible(t *testing.T) {
	needDev(t)
	for _, tool := range []string{"dpkg-deb", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	first, second := buildDeb(t), buildDeb(t)
	if a, b := read(t, first), read(t, second); !bytes.Equal(a, b) {
		t.Error("two builds of one tree differ")
	}
	list := dpkgDeb(t, "--contents", first)
	for _, want := range []string{
		"-rwxr-xr-x root/root ./usr/bin/tandemail", "-rw-r--r-- root/root ./lib/systemd/system/tandemail.service",
		"-rw-r--r-- root/root ./lib/systemd/system/tandemail-control.service", "-rw-r--r-- root/root ./usr/share/doc/tandemail/install.md",
		"drwxr-xr-x root/root ./etc/tandemail/",
	} {
		if !hasLine(list, strings.Fields(want)) {
			t.Errorf("no %s in\n%s", want, list)
		}
	}
	for _, never := range []string{"tandemail.toml", "_test.go", ".key"} {
		if strings.Contains(list, never) {
			t.Errorf("%s is in the package", never)
		}
	}
	control := dpkgDeb(t, "--field", first)
	for _, want := range []string{"Package: tandemail\n", "Version: 1.2.3\n", "Depends: adduser\n"} {
		if !strings.Contains(control, want) {
			t.Errorf("no %q in\n%s", want, control)
		}
	}
	unpacked := t.TempDir()
	dpkgDeb(t, "--extract", first, unpacked)
	if _, err := exec.CommandContext(t.Context(), filepath.Join(unpacked, "usr/bin/tandemail"), "--help").Output(); err != nil {
		t.Errorf("the packaged program: %v", err)
	}
}

// hasLine finds a line of tar's with these fields, whatever size and date it has.
func hasLine(list string, fields []string) bool {
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == fields[0] && f[1] == fields[1] && f[len(f)-1] == fields[2] {
			return true
		}
	}
	return false
}

func buildDeb(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "../packaging/build-deb", "1.2.3", dir)
	cmd.Env = append(os.Environ(), "TANDEMAIL_BINARY="+binary, "SOURCE_DATE_EPOCH=1700000000")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build-deb: %v\n%s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "tandemail_1.2.3_*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("built %v, %v", found, err)
	}
	return found[0]
}

func dpkgDeb(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "dpkg-deb", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("dpkg-deb %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
