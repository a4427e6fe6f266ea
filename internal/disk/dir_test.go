package disk

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestMadeDirectoriesSurviveALossOfPower(t *testing.T) {
	fs := vfs.NewCrashableMem()
	for _, dir := range []string{"/a/b/c", "/a/b/d", "/a/b/c"} {
		if err := New(Config{}).MakeDir(fs, dir); err != nil {
			t.Fatal(err)
		}
		fs = fs.CrashClone(vfs.CrashCloneCfg{})
		if _, err := fs.Stat(dir); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
