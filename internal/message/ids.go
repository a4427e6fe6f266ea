package message

import (
	"crypto/sha256"
	"strings"
)

// IDHash stands for a message id, without its angle brackets, wherever ids are
// compared: the first 16 octets of its SHA-256.
func IDHash(id string) [16]byte {
	sum := sha256.Sum256([]byte(id))
	return [16]byte(sum[:16])
}

// MessageID is the id in a Message-ID field's value, without brackets, comments,
// white space and needless quotes (RFC 5256 2.2, RFC 5322 3.6.4); "" if there is
// none. An id without brackets, which some senders write, counts.
func MessageID(value string) string {
	if ids := MessageIDs(value, 1); len(ids) > 0 {
		return ids[0]
	}
	if strings.IndexByte(value, '<') >= 0 {
		return ""
	}
	s := scanner{v: value}
	s.skipBlank()
	id, _, _ := strings.Cut(unfold(s.rest()), " ")
	if len(id) > maxIDLength {
		return ""
	}
	return id
}

// MessageIDs are the ids in the value of References or In-Reply-To, in order:
// all of them up to limit, and beyond it the first and the last ones.
func MessageIDs(value string, limit int) []string {
	var ids []string
	for limit > 0 {
		id, rest, ok := cutID(value)
		if !ok {
			break
		}
		value = rest
		if id == "" {
			continue
		}
		if len(ids) < limit {
			ids = append(ids, id)
			continue
		}
		if limit == 1 {
			break
		}
		ids = append(ids, id)
		if len(ids) == 2*limit {
			ids = keepEnds(ids, limit)
		}
	}
	return keepEnds(ids, limit)
}

// keepEnds drops what follows the first id until limit are left.
func keepEnds(ids []string, limit int) []string {
	if len(ids) <= limit || limit < 1 {
		return ids
	}
	return append(ids[:1], ids[len(ids)-limit+1:]...)
}

// cutID cuts behind the next "<id>"; id is "" if what is there is none.
func cutID(v string) (id, rest string, ok bool) {
	i := strings.IndexByte(v, '<')
	if i < 0 {
		return "", "", false
	}
	v = v[i+1:]
	n := strings.IndexAny(v, "<>")
	if n < 0 {
		return "", "", false
	}
	if v[n] == '<' {
		return "", v[n:], true
	}
	if n <= maxIDLength {
		id = cleanID(v[:n])
	}
	return id, v[n+1:], true
}

// cleanID removes white space, quotes and backslashes.
func cleanID(id string) string {
	const dirt = " \t\r\n\"\\"
	if !strings.ContainsAny(id, dirt) {
		return id
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(dirt, r) {
			return -1
		}
		return r
	}, id)
}
