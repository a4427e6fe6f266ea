package coord

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Schema, version 1. All values are JSON, so that `etcdctl get` shows them.
//
//	/tandemail/v1/stores/<store>           cluster.StoreRecord
//	/tandemail/v1/machines/<machine>       MachineRecord
//	/tandemail/v1/live/<machine>           LiveRecord, leased: there while the machine is
//	/tandemail/v1/users/<shard>/<user>     directory.User; shard is ShardOf(user)
//	/tandemail/v1/aliases/<shard>/<addr>   directory.Alias; addr "@domain" is a catch-all
//	/tandemail/v1/users/<shard>/           there while entries of that shard may be missing;
//	/tandemail/v1/aliases/<shard>/         likewise: a shard is listed and watched together with it
//	/tandemail/v1/deleted/<account>        DeletedUser; who can come back
//	/tandemail/v1/grants/<user>/<owner>    {}; user may have been granted something by owner: both are
//	                                       account ids, user may be "anyone"
//	/tandemail/v1/tokens/<hash>            TokenRecord; hash is that of the token's secret
//	/tandemail/v1/struck/<key>             StruckRecord; key is that of a machine that was removed
//	/tandemail/v1/rotation                 RotationRecord, of the last change of the CA
//	/tandemail/v1/rotating                 Holder, leased: who is at a step of it
//	/tandemail/v1/settings                 Settings
//	/tandemail/v1/scram                    auth.SCRAMSetting; there while SCRAM is offered. Secret, as users are
//	/tandemail/v1/history/<time>-<nonce>   HistoryEntry, in the order of time
//	/tandemail/v1/controller               Holder, leased: the elected controller
//	/tandemail/v1/recover                  written again and again to raise the revision
//
// A change that an older release would misread gets a new version and an explicit
// migration; a new JSON field does not.
const (
	Root           = "/tandemail/v1/"
	StoresPrefix   = Root + "stores/"
	MachinesPrefix = Root + "machines/"
	LivePrefix     = Root + "live/"
	UsersPrefix    = Root + "users/"
	AliasesPrefix  = Root + "aliases/"
	DeletedPrefix  = Root + "deleted/"
	GrantsPrefix   = Root + "grants/"
	TokensPrefix   = Root + "tokens/"
	StruckPrefix   = Root + "struck/"
	HistoryPrefix  = Root + "history/"
	SettingsKey    = Root + "settings"
	SCRAMKey       = Root + "scram"
	RotationKey    = Root + "rotation"
	RotatingKey    = Root + "rotating"
	ControllerKey  = Root + "controller"
	RecoverKey     = Root + "recover"
)

// DeletedKey is the key of a deleted user, by the account's id.
func DeletedKey(account string) string { return DeletedPrefix + account }

// GrantKey is the key that says that owner may have granted something to a user: both
// are account ids, the user may be "anyone".
func GrantKey(user, owner string) string { return GrantsPrefix + user + "/" + owner }

// GrantPrefixes are the prefixes that together hold everything below GrantsPrefix.
func GrantPrefixes() []string {
	out := make([]string, Shards, Shards+1)
	for i := range out {
		out[i] = GrantsPrefix + shardName(byte(i))
	}
	return append(out, GrantsPrefix+"anyone/")
}

// TokenKey is the key of a token, by the hash of its secret.
func TokenKey(hash string) string { return TokensPrefix + hash }

// StruckKey is the key that says that a machine's key was struck.
func StruckKey(key string) string { return StruckPrefix + key }

// Shards is the number of sub-prefixes of users and of aliases.
const Shards = 256

// StoreKey is the key of store's record.
func StoreKey(s cluster.Store) string { return StoresPrefix + string(s) }

// MachineKey is the key of machine's durable record.
func MachineKey(m cluster.Machine) string { return MachinesPrefix + string(m) }

// LiveKey is the key that a machine holds by its lease.
func LiveKey(m cluster.Machine) string { return LivePrefix + string(m) }

// ShardIndex is the shard, 0 to Shards-1, of a canonical user name or address.
func ShardIndex(name string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	s := h.Sum32()
	return int(byte(s ^ s>>8 ^ s>>16 ^ s>>24))
}

// ShardOf is the shard as keys spell it: two hexadecimal digits.
func ShardOf(name string) string { return shardName(byte(ShardIndex(name))) }

func shardName(b byte) string { return fmt.Sprintf("%02x", b) }

// UserKey is the key of a canonical user name.
func UserKey(name string) string { return UsersPrefix + ShardOf(name) + "/" + name }

// AliasKey is the key of a canonical address, or of "@domain".
func AliasKey(addr string) string { return AliasesPrefix + ShardOf(addr) + "/" + addr }

// ShardPrefixes are the prefixes that together hold everything below
// UsersPrefix or AliasesPrefix, for List and Follow. Each is also a key of its own:
// see the schema.
func ShardPrefixes(prefix string) []string {
	out := make([]string, Shards)
	for i := range out {
		out[i] = prefix + shardName(byte(i)) + "/"
	}
	return out
}

// ShardedName is the user or address of a key below UsersPrefix or
// AliasesPrefix, which may contain slashes; "" if the key is none.
func ShardedName(prefix, key string) string {
	rest, ok := strings.CutPrefix(key, prefix)
	if !ok || len(rest) < 4 || rest[2] != '/' {
		return ""
	}
	return rest[3:]
}

// HistoryKey orders entries by time; nonce keeps two of one moment apart.
func HistoryKey(at time.Time, nonce string) string {
	return fmt.Sprintf("%s%020d-%s", HistoryPrefix, at.UnixNano(), nonce)
}

// NameOf is the last component of a key: the store or machine.
func NameOf(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }

// ValidName reports whether s can be the name of a machine or store: 1 to 63
// lower-case letters, digits and hyphens, not beginning with a hyphen.
func ValidName(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
