package coord_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/coord"
)

func TestKeysOfSchemaOne(t *testing.T) {
	at := time.Unix(1700000000, 5)
	for _, c := range []struct{ got, want string }{
		{coord.StoreKey("s01"), "/tandemail/v1/stores/s01"},
		{coord.MachineKey("m1"), "/tandemail/v1/machines/m1"},
		{coord.LiveKey("m1"), "/tandemail/v1/live/m1"},
		{coord.UserKey("anna@example.org"), "/tandemail/v1/users/05/anna@example.org"},
		{coord.AliasKey("@example.org"), "/tandemail/v1/aliases/29/@example.org"},
		{coord.HistoryKey(at, "ab"), "/tandemail/v1/history/01700000000000000005-ab"},
		{coord.NameOf(coord.StoreKey("s01")), "s01"},
		{coord.ShardedName(coord.UsersPrefix, coord.UserKey("a/b@c")), "a/b@c"},
		{coord.ShardedName(coord.UsersPrefix, coord.AliasKey("a")), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
	if p := coord.ShardPrefixes(coord.UsersPrefix); len(p) != coord.Shards || !slices.Contains(p, "/tandemail/v1/users/05/") {
		t.Errorf("%d shard prefixes", len(p))
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{"m1": true, "mail-7": true, "": false, "-m": false, "M1": false, "a/b": false, "a.b": false} {
		if coord.ValidName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
