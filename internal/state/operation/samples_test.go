package operation

import "bytes"

func id(b byte) []byte { return bytes.Repeat([]byte{b}, 16) }

func sum(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

// samples has one operation of each kind, every field set.
func samples() []*Operation {
	since := uint64(77)
	body := &Body{Chunks: []*Chunk{{Back: 120, Length: 100}, {Lsn: 9_000, Length: 11}}, Size: 111, Sha256: sum(0xaa)}
	uids := &UIDSet{Bounds: []uint32{1, 4, 7, 7, 4294967295, 4294967295}}
	words := []string{"$Forwarded", "Work"}
	message := &NewMessage{
		Body: body, Flags: 31, Keywords: words, InternalDate: 1_600_000_000_000_000,
		EmailId: id(3), ThreadId: id(4), References: append(id(5), id(6)...), Uidl: "!0000abcd",
	}
	refs := []*DeliveryRef{{Account: id(1), Transaction: id(8), Number: 3}}
	kinds := []isOperation_Kind{
		&Operation_CreateAccount{&CreateAccount{LimitMessages: 10, LimitOctets: 20, Mailboxes: []*NewMailbox{
			{Id: id(2), Name: "INBOX", Subscribed: true}, {Id: id(3), Name: "Müll", Use: "Junk"},
		}}},
		&Operation_DeleteAccount{&DeleteAccount{}},
		&Operation_Purge{&Purge{DeletedBefore: 1_600_000_000_000_000, HistoryBefore: 1_500_000_000_000_000, Mailbox: id(2)}},
		&Operation_Freeze{&Freeze{On: true, Reason: "skipped"}},
		&Operation_Fork{&Fork{Count: 3}},
		&Operation_SetQuota{&SetQuota{LimitMessages: 1, LimitOctets: 2}},
		&Operation_UndeleteAccount{&UndeleteAccount{}},
		&Operation_Append{&Append{Mailbox: id(2), Messages: []*NewMessage{message}, ReplacedIn: id(7), Replaced: 9}},
		&Operation_Store{&Store{Mailbox: id(2), Uids: uids, Mode: 2, Flags: 5, Keywords: words, UnchangedSince: &since}},
		&Operation_Copy{&Copy{From: id(2), Uids: uids, To: id(3)}},
		&Operation_Move{&Copy{From: id(2), Uids: uids, To: id(3)}},
		&Operation_Expunge{&Expunge{Mailbox: id(2), Uids: uids, Unmarked: true}},
		&Operation_Undelete{&Undelete{Mailbox: id(2), Uids: uids, To: id(3), OverQuota: true}},
		&Operation_Recent{&Recent{Mailbox: id(2), User: "u", Uid: 5}},
		&Operation_Create{&Create{Id: id(2), Name: "a/b", Use: "Sent"}},
		&Operation_Delete{&Delete{Name: "a/b"}},
		&Operation_Rename{&Rename{From: "a", To: "b", Id: id(4)}},
		&Operation_Subscribe{&Subscribe{Name: "a", On: true}},
		&Operation_UndeleteMailbox{&UndeleteMailbox{Mailbox: id(2), Name: "a/b", OverQuota: true}},
		&Operation_SetAcl{&SetACL{Mailbox: id(2), User: id(6), Rights: 1027, Mode: 1}},
		&Operation_SetMetadata{&SetMetadata{Mailbox: id(2), Entries: []*MetadataEntry{
			{Name: "/private/comment", Value: []byte("\x00\xff")}, {Name: "/shared/comment"},
		}}},
		&Operation_SetAccess{&SetAccess{Mailbox: id(2), Key: sum(0xcc)}},
		&Operation_Deliver{&Deliver{Transaction: id(8), Body: body, References: id(5), Recipients: []*Recipient{{
			Number: 2, Account: id(1), Mailbox: id(2), Use: "Junk", Prefix: []byte("Return-Path: <>\r\n"), Flags: 1,
			Keywords: words, InternalDate: 1, EmailId: id(3), ThreadId: id(4), ContentKey: sum(0xbb),
		}}}},
		&Operation_SettleDeliveries{&SettleDeliveries{Confirmed: refs, InDoubt: refs}},
	}
	var ops []*Operation
	for _, k := range kinds {
		ops = append(ops, &Operation{
			Level: 1, Time: 1_700_000_000_000_000, Account: id(1), Kind: k,
			Actor: &Actor{User: "u", By: "admin", Session: id(9), Remote: "192.0.2.1", Command: "C", QueueId: "Q1"},
			Id:    &CommandID{Session: id(9), Number: 300, Chunk: 2},
		})
		if _, ok := k.(*Operation_SetAcl); ok {
			ops[len(ops)-1].User = id(7)
		}
	}
	return ops
}
