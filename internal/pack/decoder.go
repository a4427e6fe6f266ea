package pack

import (
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/compress"
)

const writeCategory vfs.DiskWriteCategory = "pack"

// Decoder decompresses frames, for any number of goroutines.
type Decoder = compress.Decoder

// NewDecoder returns a Decoder that works on so many frames at once.
func NewDecoder(atOnce int) (*Decoder, error) { return compress.NewDecoder(atOnce) }
