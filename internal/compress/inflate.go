package compress

import (
	"errors"
	"fmt"
	"io"
)

// ErrDeflate: what came is no DEFLATE data.
var ErrDeflate = errors.New("not DEFLATE data")

// Inflater decompresses a stream of DEFLATE data (RFC 1951) as it comes: it gives
// every octet that what was received determines, and never waits for more while it
// has one. The standard library's and klauspost's hold the end of a block back until
// the next one's header has come, which it does not when the sender flushed with
// zlib's Z_PARTIAL_FLUSH and waits for an answer, as IMAP clients do that compress
// (RFC 4978). It decodes bit by bit: a client sends little. For one goroutine; about
// 40 KiB.
type Inflater struct {
	src  io.Reader
	in   [4 << 10]byte
	r, w int
	bits uint64 // the lowest come first
	n    uint   // how many there are
	err  error  // of src, or of the data; final

	window [1 << 15]byte
	at     int // where the next octet goes
	filled int // of the window, at most all

	inBlock, final bool
	stored         int // octets of a stored block that are left
	lengths        huffman
	distances      huffman

	copyLen, copyDist int // of a match that is left
}

// NewInflater reads from src.
func NewInflater(src io.Reader) *Inflater { return &Inflater{src: src} }

// Read implements io.Reader. Octets come without an error, which comes with the next call.
func (f *Inflater) Read(p []byte) (n int, err error) {
	for n < len(p) {
		switch {
		case f.copyLen > 0:
			f.copyLen--
			p[n] = f.put(f.window[(f.at-f.copyDist)&(len(f.window)-1)])
			n++
			continue
		case f.stored > 0 && f.available(8):
			f.stored--
			p[n] = f.put(byte(f.take(8)))
			n++
			continue
		case f.err != nil || f.stored > 0:
		case !f.inBlock && n == 0:
			f.err = f.begin()
			continue
		case f.inBlock:
			octet, is, ok := f.symbol()
			if is {
				p[n] = f.put(octet)
				n++
			}
			if ok {
				continue
			}
		}
		if n > 0 {
			return n, nil // before waiting, and before any error
		}
		if f.err != nil {
			return 0, f.err
		}
		f.err = f.fill()
	}
	return n, nil
}

func (f *Inflater) put(octet byte) byte {
	f.window[f.at] = octet
	f.at = (f.at + 1) & (len(f.window) - 1)
	f.filled = min(f.filled+1, len(f.window))
	return octet
}

// available makes n bits available, of what has been received.
func (f *Inflater) available(n uint) bool {
	for f.n <= 56 && f.r < f.w {
		f.bits |= uint64(f.in[f.r]) << f.n
		f.n += 8
		f.r++
	}
	return f.n >= n
}

// take takes n bits that are available.
func (f *Inflater) take(n uint) uint {
	v := uint(f.bits & (1<<n - 1))
	f.bits >>= n
	f.n -= n
	return v
}

// fill receives something.
func (f *Inflater) fill() error {
	for range 100 {
		n, err := f.src.Read(f.in[:])
		if n > 0 {
			f.r, f.w = 0, n
			return nil // an error comes again
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// need waits for n bits and takes them.
func (f *Inflater) need(n uint) (uint, error) {
	for !f.available(n) {
		if err := f.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
	}
	return f.take(n), nil
}

// begin reads a block's header. Nothing is held back meanwhile. io.EOF after the last
// block, or before one of a stream that just ends.
func (f *Inflater) begin() error {
	if f.final {
		return io.EOF
	}
	for !f.available(3) {
		if err := f.fill(); err != nil {
			return err
		}
	}
	f.final = f.take(1) == 1
	switch f.take(2) {
	case 0:
		return f.beginStored()
	case 1:
		f.lengths, f.distances = fixedLengths, fixedDistances
	case 2:
		if err := f.beginDynamic(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: block of type 3", ErrDeflate)
	}
	f.inBlock = true
	return nil
}

func (f *Inflater) beginStored() error {
	f.take(f.n % 8) // to the octet's end
	n, err := f.need(16)
	if err != nil {
		return err
	}
	inverse, err := f.need(16)
	if err != nil {
		return err
	}
	if n^inverse != 0xffff {
		return fmt.Errorf("%w: length of a stored block", ErrDeflate)
	}
	f.stored = int(n)
	return nil
}

// codeOrder is that of the lengths of code lengths (RFC 1951 3.2.7).
var codeOrder = [19]byte{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

func (f *Inflater) beginDynamic() error {
	counts, err := f.need(14)
	if err != nil {
		return err
	}
	literals, distances, codes := int(counts&31)+257, int(counts>>5&31)+1, int(counts>>10)+4
	if literals > maxLiterals || distances > maxDistances {
		return fmt.Errorf("%w: too many symbols", ErrDeflate)
	}
	var lengths [maxLiterals + maxDistances]byte
	for _, at := range codeOrder[:codes] {
		n, err := f.need(3)
		if err != nil {
			return err
		}
		lengths[at] = byte(n)
	}
	var code huffman
	if err := code.build(lengths[:len(codeOrder)]); err != nil {
		return err
	}
	clear(lengths[:])
	if err := f.codeLengths(&code, lengths[:literals+distances]); err != nil {
		return err
	}
	if lengths[endOfBlock] == 0 {
		return fmt.Errorf("%w: block without an end", ErrDeflate)
	}
	return errors.Join(f.lengths.build(lengths[:literals]), f.distances.build(lengths[literals:literals+distances]))
}

// repeats of code lengths 16, 17 and 18: extra bits and the least.
var repeats = [3]struct{ bits, least uint }{{2, 3}, {3, 3}, {7, 11}}

// codeLengths fills lengths as code says.
func (f *Inflater) codeLengths(code *huffman, lengths []byte) error {
	for i := 0; i < len(lengths); {
		s, err := f.waitSymbol(code)
		if err != nil {
			return err
		}
		if s < 16 {
			lengths[i] = byte(s)
			i++
			continue
		}
		r := repeats[s-16]
		extra, err := f.need(r.bits)
		if err != nil {
			return err
		}
		var again byte
		if s == 16 {
			if i == 0 {
				return fmt.Errorf("%w: nothing to repeat", ErrDeflate)
			}
			again = lengths[i-1]
		}
		n := int(r.least + extra)
		if i+n > len(lengths) {
			return fmt.Errorf("%w: too many code lengths", ErrDeflate)
		}
		for range n {
			lengths[i] = again
			i++
		}
	}
	return nil
}

func (f *Inflater) waitSymbol(code *huffman) (int, error) {
	for {
		f.available(maxCode)
		s, n, err := code.decode(f.bits, f.n)
		if err != nil {
			return 0, err
		}
		if n > 0 {
			f.take(n)
			return s, nil
		}
		if err := f.fill(); err != nil {
			return 0, err
		}
	}
}

// symbol decodes the next symbol of a block, if all of its bits have been received:
// an octet, or something else that leaves nothing to give yet. ok false: more has to
// come, or f.err is set.
func (f *Inflater) symbol() (octet byte, is, ok bool) {
	f.available(1)
	bits, n := f.bits, f.n
	s, used, err := f.lengths.decode(bits, n)
	switch {
	case err != nil:
		f.err = err
		return 0, false, false
	case used == 0:
		return 0, false, false
	case s < endOfBlock:
		f.take(used)
		return byte(s), true, true
	case s == endOfBlock:
		f.take(used)
		f.inBlock = false
		return 0, false, true
	}
	return 0, false, f.match(s, used)
}

// match takes in a length and a distance, whole or not at all.
func (f *Inflater) match(s int, used uint) bool {
	if s -= endOfBlock + 1; s >= len(lengthBase) {
		f.err = fmt.Errorf("%w: symbol of a length", ErrDeflate)
		return false
	}
	bits, n := f.bits>>used, f.n-used
	if n < uint(lengthExtra[s]) {
		return false
	}
	length := int(lengthBase[s]) + int(bits&(1<<lengthExtra[s]-1))
	bits, n = bits>>lengthExtra[s], n-uint(lengthExtra[s])
	d, used, err := f.distances.decode(bits, n)
	switch {
	case err != nil:
		f.err = err
		return false
	case used == 0:
		return false
	case d >= len(distanceBase):
		f.err = fmt.Errorf("%w: symbol of a distance", ErrDeflate)
		return false
	}
	bits, n = bits>>used, n-used
	if n < uint(distanceExtra[d]) {
		return false
	}
	distance := int(distanceBase[d]) + int(bits&(1<<distanceExtra[d]-1))
	if distance > f.filled {
		f.err = fmt.Errorf("%w: distance beyond the beginning", ErrDeflate)
		return false
	}
	f.bits, f.n = bits>>distanceExtra[d], n-uint(distanceExtra[d])
	f.copyLen, f.copyDist = length, distance
	return true
}
