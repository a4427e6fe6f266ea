package replica

import (
	"encoding/binary"
	"hash/crc32"
)

// reseal makes length and checksum of b fit its body again.
func reseal(b []byte) []byte {
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	binary.BigEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[4:len(b)-4], castagnoli))
	return b
}
