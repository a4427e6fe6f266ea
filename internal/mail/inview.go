package mail

// InView is the messages from UID lo up to but not next that a client has in view
// who was told of these UIDs and of all expunges up to the cut: those that are
// there, and those that went after it. ErrBelowFloor.
func InView(v View, id MailboxID, lo, next UID, cut ModSeq) (UIDSet, error) {
	if lo >= next {
		return nil, nil
	}
	var live UIDSet
	for f, err := range v.Flags(id, lo, next-1, 0) {
		if err != nil {
			return nil, err
		}
		live = live.Add(f.UID)
	}
	all := live
	for t, err := range v.Expunged(id, cut) {
		if err != nil {
			return live, err
		}
		for _, r := range t.UIDs {
			if r.Lo, r.Hi = max(r.Lo, lo), min(r.Hi, next-1); r.Lo <= r.Hi {
				all = append(all[:len(all):len(all)], r)
			}
		}
	}
	return NewUIDSet(all...), nil
}
