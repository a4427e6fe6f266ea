package state

import (
	"encoding/binary"
	"math/bits"

	"github.com/tandemail/tandemail/internal/mail"
)

// pageSize is how many UIDs share a flag record: as many as a machine word has
// bits, so that a flag of a page is one word. Every delivery and STORE rewrites a
// page (about 140 octets when full), so small is good; and larger ones would not
// make a scan of all flags cheaper, of which stepping between pages is 1 %.
const pageSize = 64

const systemFlags = 5

// page is the flags of the UIDs no*pageSize to no*pageSize+pageSize-1.
// Bit i of each word is the page's i-th UID.
type page struct {
	present  uint64
	largest  mail.ModSeq         // of the present messages, and of all that ever were
	system   [systemFlags]uint64 // in the order of mail.Flags' bits
	keywords []keywordPlane      // ascending by place, none empty
	modseqs  [pageSize]mail.ModSeq
}

// keywordPlane is the messages of a page that carry one keyword.
type keywordPlane struct {
	place uint8
	bits  uint64
}

func pageOf(u mail.UID) (no uint32, bit int) { return uint32(u) / pageSize, int(u % pageSize) }

// flags returns what message bit of the page carries.
func (p *page) flags(bit int) (f mail.Flags, k mail.Keywords) {
	for i, plane := range p.system {
		f |= mail.Flags(plane>>bit&1) << i
	}
	for _, plane := range p.keywords {
		if plane.bits>>bit&1 != 0 {
			k = k.With(int(plane.place))
		}
	}
	return f, k
}

// put makes message bit present with these flags, changed at at.
func (p *page) put(bit int, f mail.Flags, k mail.Keywords, at mail.ModSeq) {
	p.clear(bit)
	p.present |= 1 << bit
	for i := range p.system {
		p.system[i] |= uint64(f>>i&1) << bit
	}
	for word := range k {
		for rest := k[word]; rest != 0; rest &= rest - 1 {
			p.plane(uint8(word*64 + bits.TrailingZeros64(rest))).bits |= 1 << bit
		}
	}
	p.modseqs[bit] = at
	p.largest = max(p.largest, at)
}

// clear makes message bit absent.
func (p *page) clear(bit int) {
	p.present &^= 1 << bit
	for i := range p.system {
		p.system[i] &^= 1 << bit
	}
	kept := p.keywords[:0]
	for _, plane := range p.keywords {
		if plane.bits &^= 1 << bit; plane.bits != 0 {
			kept = append(kept, plane)
		}
	}
	p.keywords = kept
	p.modseqs[bit] = 0
}

// plane returns the plane of a keyword, new if there is none.
func (p *page) plane(place uint8) *keywordPlane {
	i := 0
	for i < len(p.keywords) && p.keywords[i].place < place {
		i++
	}
	if i == len(p.keywords) || p.keywords[i].place != place {
		p.keywords = append(p.keywords, keywordPlane{})
		copy(p.keywords[i+1:], p.keywords[i:])
		p.keywords[i] = keywordPlane{place: place}
	}
	return &p.keywords[i]
}

// encode: largest MODSEQ first, so that CHANGEDSINCE skips a page by one varint.
func (p *page) encode(w *writer) {
	w.start()
	w.uint(uint64(p.largest))
	w.fixed(p.present)
	var used byte
	for i, plane := range p.system {
		if plane != 0 {
			used |= 1 << i
		}
	}
	w.octet(used)
	for _, plane := range p.system {
		if plane != 0 {
			w.fixed(plane)
		}
	}
	w.uint(uint64(len(p.keywords)))
	for _, plane := range p.keywords {
		w.octet(plane.place)
		w.fixed(plane.bits)
	}
	for rest := p.present; rest != 0; rest &= rest - 1 {
		w.uint(uint64(p.largest - p.modseqs[bits.TrailingZeros64(rest)]))
	}
}

// decode replaces p, reusing its keyword slice.
func (p *page) decode(b []byte) error {
	var r reader
	r.start(b)
	*p = page{keywords: p.keywords[:0]}
	p.largest = mail.ModSeq(r.uint())
	p.present = r.fixed()
	used := r.octet()
	if used>>systemFlags != 0 {
		r.fail()
	}
	for i := range p.system {
		if used>>i&1 != 0 {
			p.system[i] = r.plane(p.present)
		}
	}
	last := -1
	for range r.count(9) {
		k := keywordPlane{r.octet(), r.plane(p.present)}
		if int(k.place) <= last || k.place >= mail.MaxKeywords {
			r.fail()
			break
		}
		last = int(k.place)
		p.keywords = append(p.keywords, k)
	}
	for rest := p.present; rest != 0; rest &= rest - 1 {
		back := mail.ModSeq(r.uint())
		if back > p.largest {
			r.fail()
		}
		p.modseqs[bits.TrailingZeros64(rest)] = p.largest - back
	}
	return r.finish("flag page")
}

// plane reads a word that is not empty and within present.
func (r *reader) plane(present uint64) uint64 {
	v := r.fixed()
	if v == 0 || v&^present != 0 {
		r.fail()
	}
	return v
}

// pageLargest reads only the page's largest MODSEQ.
func pageLargest(b []byte) mail.ModSeq {
	if len(b) == 0 {
		return 0
	}
	v, _ := binary.Uvarint(b[1:])
	return mail.ModSeq(v)
}
