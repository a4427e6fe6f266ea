package pack

import (
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/mail"
)

// Table of contents, little-endian: a head, then a record for each entry in the
// order of the file.
const (
	tableMagic   = "TMPKTABL"
	tableHeadLen = 24

	tblPack    = 8  // u64
	tblEntries = 16 // u32
	tblCRC     = 20 // u32, over the rest of the head and all records

	recordLen  = 48
	recBody    = 0  // u64
	recOffset  = 8  // u64
	recSize    = 16 // u64
	recPlain   = 24 // u64
	recAccount = 32 // 16 octets
)

func tableSize(entries int) int64 { return tableHeadLen + recordLen*int64(entries) }

// record is an entry in the table of contents.
type record struct {
	body         mail.BodyID
	offset, size int64
	plain        int64
	account      mail.AccountID
}

func (r record) stored(id ID) Stored {
	return Stored{Body: r.body, Account: r.account, Length: r.plain, Location: Location{Pack: id, Offset: r.offset, Size: r.size}}
}

func appendTable(b []byte, id ID, records []record) []byte {
	start := len(b)
	b = append(b, tableMagic...)
	b = le.AppendUint64(b, uint64(id))
	b = le.AppendUint32(b, uint32(len(records)))
	b = le.AppendUint32(b, 0)
	for _, r := range records {
		b = le.AppendUint64(b, uint64(r.body))
		b = le.AppendUint64(b, uint64(r.offset))
		b = le.AppendUint64(b, uint64(r.size))
		b = le.AppendUint64(b, uint64(r.plain))
		b = append(b, r.account[:]...)
	}
	t := b[start:]
	le.PutUint32(t[tblCRC:], checksum(t, tblCRC))
	return b
}

// parseTable verifies the whole table b of a pack whose footer is f.
func parseTable(b []byte, f footer) ([]record, error) {
	switch {
	case string(b[:len(tableMagic)]) != tableMagic || le.Uint32(b[tblCRC:]) != checksum(b, tblCRC):
		return nil, errors.New("table of contents: checksum mismatch")
	case ID(le.Uint64(b[tblPack:])) != f.pack || int(le.Uint32(b[tblEntries:])) != f.entries:
		return nil, errors.New("table of contents of another pack")
	}
	records := make([]record, 0, f.entries)
	end := int64(fileHeaderLen)
	for b = b[tableHeadLen:]; len(b) > 0; b = b[recordLen:] {
		r := record{
			body: mail.BodyID(le.Uint64(b[recBody:])), offset: int64(le.Uint64(b[recOffset:])), size: int64(le.Uint64(b[recSize:])),
			plain: int64(le.Uint64(b[recPlain:])), account: mail.AccountID(b[recAccount:recordLen]),
		}
		if r.offset < end || r.size < headerFixed || r.size > f.table-r.offset || r.plain < 0 || r.plain > MaxLength {
			return nil, fmt.Errorf("table of contents: body %d cannot be at %d", r.body, r.offset)
		}
		records, end = append(records, r), r.offset+r.size
	}
	return records, nil
}
