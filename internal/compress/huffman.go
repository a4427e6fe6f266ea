package compress

import "fmt"

const (
	maxCode      = 15 // bits of a symbol
	maxLiterals  = 286
	maxDistances = 30
	endOfBlock   = 256
)

// huffman is a canonical code (RFC 1951 3.2.2): how many symbols have each number of
// bits, and all symbols in the order of their codes.
type huffman struct {
	count   [maxCode + 1]uint16
	symbols [maxLiterals + 2]uint16
}

// build makes the code of which lengths are the bits of each symbol, 0 if it is not
// used. One with a single symbol may leave codes unused, others may not.
func (h *huffman) build(lengths []byte) error {
	*h = huffman{}
	for _, l := range lengths {
		h.count[l]++
	}
	used := len(lengths) - int(h.count[0])
	h.count[0] = 0
	left := 1
	var offset [maxCode + 2]uint16
	for l := 1; l <= maxCode; l++ {
		if left = left<<1 - int(h.count[l]); left < 0 {
			return fmt.Errorf("%w: more symbols than codes", ErrDeflate)
		}
		offset[l+1] = offset[l] + h.count[l]
	}
	if left > 0 && (used > 1 || used == 1 && h.count[1] != 1) {
		return fmt.Errorf("%w: fewer symbols than codes", ErrDeflate)
	}
	for s, l := range lengths {
		if l != 0 {
			h.symbols[offset[l]] = uint16(s)
			offset[l]++
		}
	}
	return nil
}

// decode finds the symbol that n bits begin with, and how many of them are its own; 0
// if there are too few.
func (h *huffman) decode(bits uint64, n uint) (symbol int, used uint, err error) {
	code, first, index := 0, 0, 0
	for l := uint(1); l <= maxCode; l++ {
		if l > n {
			return 0, 0, nil
		}
		code |= int(bits & 1)
		bits >>= 1
		count := int(h.count[l])
		if code-count < first {
			return int(h.symbols[index+code-first]), l, nil
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, 0, fmt.Errorf("%w: code of no symbol", ErrDeflate)
}

// What symbols of lengths and distances mean (RFC 1951 3.2.5).
var (
	lengthBase    = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra   = [29]byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase  = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distanceExtra = [30]byte{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// The fixed codes (RFC 1951 3.2.6).
var (
	fixedLengths   = fixed(144, 8, 112, 9, 24, 7, 8, 8)
	fixedDistances = fixed(maxDistances+2, 5)
)

// fixed builds a code of runs: so many symbols of so many bits.
func fixed(runs ...int) (h huffman) {
	var lengths []byte
	for i := 0; i < len(runs); i += 2 {
		for range runs[i] {
			lengths = append(lengths, byte(runs[i+1]))
		}
	}
	if err := h.build(lengths); err != nil {
		panic(err) // the table is wrong
	}
	return h
}
