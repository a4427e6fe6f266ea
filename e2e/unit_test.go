package e2e

import (
	"bufio"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestUnitsOfThePackageStartWhatInitHasMade runs the units' own commands, with the
// packaged program, as a user that is not root, without systemd: paths are the only
// words that are exchanged. What else a unit says is systemd's to do.
func TestUnitsOfThePackageStartWhatInitHasMade(t *testing.T) {
	needFailures(t)
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("dpkg-deb is not installed")
	}
	unpacked := t.TempDir()
	letThrough(t, unpacked)
	dpkgDeb(t, "--extract", buildDeb(t), unpacked)
	packaged := filepath.Join(unpacked, "usr/bin/tandemail")
	for unit, roles := range map[string]string{"tandemail": "storage,front,control", "tandemail-control": "control"} {
		t.Run(unit, func(t *testing.T) {
			says := readUnit(t, filepath.Join(unpacked, "lib/systemd/system", unit+".service"))
			h := newSite(t, unit).hosts[unit]
			h.runs = packaged
			letThrough(t, filepath.Dir(h.dir))
			init := append([]string{"init", "--roles", roles}, h.flags()...)
			nobody := unprivileged(t)
			if nobody != nil {
				init = append(init, "--user", "nobody")
			}
			if out, err := exec.CommandContext(t.Context(), packaged, init...).CombinedOutput(); err != nil {
				t.Fatalf("init: %v\n%s", err, out)
			}
			argv := strings.Fields(says["ExecStart"])
			for i, word := range argv {
				switch word {
				case "/usr/bin/tandemail":
					argv[i] = packaged
				case says["ConditionPathExists"]: // where init writes it by default, or is told to
					argv[i] = h.config()
				}
			}
			if says["User"] != "tandemail" || argv[0] != packaged || argv[len(argv)-1] != h.config() {
				t.Fatalf("the unit says %v", says)
			}
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin"}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: nobody}
			h.start(cmd)
			h.until(func(s status) string { return up(s, 1) })
			h.end(syscall.SIGTERM)
			if !cmd.ProcessState.Success() {
				t.Errorf("asked to stop it ended with %v\n%s", cmd.ProcessState, h.lastLog())
			}
		})
	}
}

// unprivileged is who runs the daemon in place of the package's user; nil where the
// test itself is not root's.
func unprivileged(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := osuser.Lookup("nobody")
	if err != nil {
		t.Skip("there is no user nobody")
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// letThrough lets other users into a directory of the test.
func letThrough(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// readUnit has the last value of each key, of all sections.
func readUnit(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), "="); ok && !strings.HasPrefix(key, "#") {
			out[key] = value
		}
	}
	return out
}
