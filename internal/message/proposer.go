package message

// Identity is what decides a message's place among others. The proposer of a
// delivery computes it once, from the header alone, and it becomes a field of the
// operation: replicas never parse. A zero hash means that there is nothing.
type Identity struct {
	MessageID  [16]byte
	References [][16]byte // at most 50, oldest first, each once; not the message's own
	Subject    [16]byte   // of the folded base subject
	Reply      bool       // the subject says so (RFC 5256 2.1)
	Sent       Date
}

// ProposerFields reads the first MiB of a header.
//
// References are those of the References fields, then those of In-Reply-To,
// which many clients write alone.
func ProposerFields(header []byte) Identity {
	h := string(header[:min(len(header), maxHeader)])
	var id Identity
	var own, subject, references, inReplyTo string
	for pos := 0; ; {
		f, next := nextField(h, pos)
		if next == pos {
			break
		}
		pos = next
		switch kindOf(f.Name) {
		case kindMessageID:
			set(&own, f.Value)
		case kindSubject:
			set(&subject, f.Value)
		case kindReferences:
			set(&references, f.Value)
		case kindInReplyTo:
			set(&inReplyTo, f.Value)
		case kindDate:
			if !id.Sent.Valid {
				id.Sent, _ = ParseDate(f.Value)
			}
		}
	}
	if own := MessageID(own); own != "" {
		id.MessageID = IDHash(own)
	}
	id.References = referenceHashes(id.MessageID, references, inReplyTo)
	base, reply := BaseSubject(unfold(subject))
	id.Reply = reply
	if base != "" {
		id.Subject = IDHash(Fold(base))
	}
	return id
}

// set keeps the first field that has a value.
func set(v *string, value string) {
	if *v == "" {
		*v = value
	}
}

func referenceHashes(own [16]byte, references, inReplyTo string) [][16]byte {
	ids := MessageIDs(references, maxReferences)
	ids = keepEnds(append(ids, MessageIDs(inReplyTo, 4)...), maxReferences)
	if len(ids) == 0 {
		return nil
	}
	out := make([][16]byte, 0, len(ids))
	for _, id := range ids {
		if h := IDHash(id); h != own && !contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

func contains(list [][16]byte, h [16]byte) bool {
	for i := range list {
		if list[i] == h {
			return true
		}
	}
	return false
}
