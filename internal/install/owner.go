package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// owner is whom the files are given to.
type owner struct{ uid, gid int }

// lookUp finds a user; nil for "".
func lookUp(name string) (*owner, error) {
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("find the user that the daemon runs as: %w", err)
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	return &owner{uid, gid}, errors.Join(uidErr, gidErr)
}

// give changes the owner of everything at and below each path.
func (o *owner) give(paths ...string) error {
	if o == nil {
		return nil
	}
	for _, path := range paths {
		err := filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(p, o.uid, o.gid)
		})
		if err != nil {
			return fmt.Errorf("give %s to the daemon's user: %w", path, err)
		}
	}
	return nil
}
